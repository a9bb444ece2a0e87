// The browser's half of the crypto provider: the module `smolmix_crypto` that smolmix_web/crypto/browser.py calls.
//
// Both sides share one buffer, a Python bytearray seen from JavaScript: Python writes the inputs one after another from
// its start, calls a function with their lengths, and reads the outputs from its start. Only small integers cross the
// border as arguments and results, so a call costs a few microseconds whatever it carries. Inputs that the outputs do not
// cover are overwritten with zeros. Lengths are checked on the Python side.

import libsodium from "libsodium-sumo";
import * as ciphers from "./ciphers.js";
import { createCurve, SECRET_LENGTH } from "./curve.js";
import { createHkdf } from "./hkdf.js";
import { HEADER_LENGTH, createPackets, routingLength } from "./packets.js";

/** What a function answers when all is well; other values are said where they occur. */
const DONE = 0;
const REFUSED = 1;
const MAX_HOPS = 5;
const SEED_LENGTH = 16;
const PAYLOAD_KEY_LENGTH = 192;

/**
 * The buffer view that Pyodide gives: its `data` is detached when Python's memory grows.
 * @typedef {{ data: Uint8Array, release(): void }} PyBufferView
 * @typedef {{ getBuffer(type: "u8"): PyBufferView }} PyBytearray
 * @typedef {Awaited<ReturnType<typeof createCrypto>>} CryptoModule
 */

/** Loads libsodium and returns the functions for Python. */
export async function createCrypto() {
  const sodium = await libsodium({ getRandomValue: () => crypto.getRandomValues(new Uint32Array(1))[0] });
  if (sodium._sodium_init() < 0) throw new Error("libsodium did not initialise");
  const { blake3, fragmentCipher, fragmentKey } = ciphers;
  const block = ciphers.createCiphers(sodium);
  /** @type {ReturnType<typeof createCurve> | null} */
  let curveOrNull = null;
  /** @type {ReturnType<typeof createPackets> | null} */
  let packetsOrNull = null;

  /** @type {PyBytearray | null} */
  let source = null;
  /** @type {PyBufferView | null} */
  let view = null;
  /** @type {import("./hkdf.js").Hkdf | null} */
  let payloadKeyOrNull = null;
  const secretsAt = sodium._malloc(32 + MAX_HOPS * SECRET_LENGTH);
  if (secretsAt === 0) throw new Error("libsodium is out of memory");

  /** The shared buffer as it is now. */
  function shared() {
    if (!source || !view) throw new Error("no buffer is attached");
    if (view.data.length === 0) {
      view.release();
      view = source.getBuffer("u8");
    }
    return view.data;
  }

  function curve() {
    if (!curveOrNull) throw new Error("no parameters were given");
    return curveOrNull;
  }

  function packets() {
    if (!packetsOrNull) throw new Error("no parameters were given");
    return packetsOrNull;
  }

  /**
   * Wipes what the output does not cover, or all inputs when a key was refused, and tells which.
   * @param {Uint8Array} data @param {number} bad @param {number} inputs @param {number} outputs
   */
  function settle(data, bad, inputs, outputs) {
    const keep = bad < 0 ? outputs : 0;
    if (inputs > keep) data.fill(0, keep, inputs);
    return bad < 0 ? DONE : REFUSED + bad;
  }

  /** Puts the result at the start and zeros over the rest of the inputs. @param {Uint8Array} data @param {Uint8Array} result @param {number} inputs */
  function answer(data, result, inputs) {
    data.set(result);
    if (inputs > result.length) data.fill(0, result.length, inputs);
    return DONE;
  }

  /** Copies secrets out of libsodium's heap and wipes them there. @param {Uint8Array} data @param {number} size @param {number} inputs */
  function answerSecrets(data, size, inputs) {
    const from = sodium.HEAPU8.subarray(secretsAt, secretsAt + size);
    answer(data, from, inputs);
    from.fill(0);
    return DONE;
  }

  return {
    /** Takes the shared buffer; a second call replaces it. @param {PyBytearray} buffer */
    attach(buffer) {
      view?.release();
      source = buffer;
      view = buffer.getBuffer("u8");
    },

    /** Lets go of the shared buffer, so that Python may free or resize it. */
    detach() {
      view?.release();
      view = null;
      source = null;
    },

    /**
     * The fixed inputs of the key derivations: info of expanded secrets, salt and info of payload keys.
     * @param {number} expansionInfo @param {number} keySalt @param {number} keyInfo their lengths
     */
    setParameters(expansionInfo, keySalt, keyInfo) {
      const data = shared().slice(0, expansionInfo + keySalt + keyInfo);
      const salt = data.subarray(expansionInfo, expansionInfo + keySalt);
      curveOrNull = createCurve(sodium, createHkdf(sodium, new Uint8Array(0), data.subarray(0, expansionInfo)));
      payloadKeyOrNull = createHkdf(sodium, salt, data.subarray(expansionInfo + keySalt));
      packetsOrNull = createPackets(sodium, curveOrNull, payloadKeyOrNull, block);
    },

    /** scalar (32), point (32) -> shared secret (32); REFUSED on a low-order point. */
    x25519() {
      const data = shared();
      const good = curve().x25519(data.subarray(0, 32), data.subarray(32, 64), data.subarray(0, 32));
      data.fill(0, good ? 32 : 0, 64);
      return good ? DONE : REFUSED;
    },

    /** scalar (32) -> public key (32) */
    x25519Base() {
      const data = shared();
      curve().x25519Base(data.subarray(0, 32), data.subarray(0, 32));
      return DONE;
    },

    /** seed (32) -> public key (32) */
    ed25519Public() {
      const data = shared();
      const at = sodium._malloc(128);
      sodium.HEAPU8.set(data.subarray(0, 32), at + 96);
      sodium._crypto_sign_ed25519_seed_keypair(at, at + 32, at + 96);
      answer(data, sodium.HEAPU8.subarray(at, at + 32), 32);
      sodium.HEAPU8.fill(0, at, at + 128);
      sodium._free(at);
      return DONE;
    },

    /** seed (32), message (length) -> signature (64) @param {number} length */
    ed25519Sign(length) {
      const data = shared();
      const at = sodium._malloc(192 + length);
      if (at === 0) throw new RangeError("libsodium is out of memory");
      sodium.HEAPU8.set(data.subarray(0, 32), at);
      sodium.HEAPU8.set(data.subarray(32, 32 + length), at + 192);
      sodium._crypto_sign_ed25519_seed_keypair(at + 32, at + 64, at);
      sodium._crypto_sign_ed25519_detached(at + 128, 0, at + 192, length, 0, at + 64);
      answer(data, sodium.HEAPU8.subarray(at + 128, at + 192), 32 + length);
      sodium.HEAPU8.fill(0, at, at + 192 + length);
      sodium._free(at);
      return DONE;
    },

    /** public key (32), signature (64), message (length) -> nothing; REFUSED when it does not hold. @param {number} length */
    ed25519Verify(length) {
      const data = shared();
      const at = sodium._malloc(96 + length);
      if (at === 0) throw new RangeError("libsodium is out of memory");
      sodium.HEAPU8.set(data.subarray(0, 96 + length), at);
      const code = sodium._crypto_sign_ed25519_verify_detached(at + 32, at + 96, length, 0, at);
      sodium._free(at);
      return code === 0 ? DONE : REFUSED;
    },

    /** key (16), counter block (16), data (length) -> data @param {number} length */
    aesCtr(length) {
      const data = shared();
      const inputs = data.slice(0, 32 + length);
      const result = ciphers.aesCtr(inputs.subarray(0, 16), inputs.subarray(16, 32), inputs.subarray(32));
      inputs.fill(0);
      return answer(data, result, 32 + length);
    },

    /** key (32), nonce (12), plaintext (length) -> ciphertext and tag (length + 16) @param {number} length */
    sivSeal(length) {
      const data = shared();
      const key = data.slice(0, 32);
      const result = ciphers.sivSeal(key, data.slice(32, 44), data.slice(44, 44 + length));
      key.fill(0);
      return answer(data, result, 44 + length);
    },

    /** key (32), nonce (12), sealed (length) -> plaintext (length - 16); REFUSED when the tag is wrong. @param {number} length */
    sivOpen(length) {
      const data = shared();
      const key = data.slice(0, 32);
      const result = ciphers.sivOpen(key, data.slice(32, 44), data.slice(44, 44 + length));
      key.fill(0);
      if (result === null) {
        data.fill(0, 0, 44 + length);
        return REFUSED;
      }
      return answer(data, result, 44 + length);
    },

    /** key (32), data (length) -> data @param {number} length */
    chacha20(length) {
      const data = shared();
      block.chacha20(data.subarray(0, 32), data.subarray(32, 32 + length), data);
      data.fill(0, length, 32 + length);
      return DONE;
    },

    /** data (length) -> digest (32) @param {number} length */
    blake3(length) {
      const data = shared();
      return answer(data, blake3(data.slice(0, length)), length);
    },

    /**
     * x (32), public keys (32 each) -> alpha (32), secrets (288 each); REFUSED + index of a key with low order.
     * @param {number} count
     */
    headerSecrets(count) {
      const data = shared();
      const inputs = 32 + 32 * count;
      const points = data.slice(32, inputs);
      const bad = curve().headerSecrets(data.subarray(0, 32), points, count, secretsAt, SECRET_LENGTH, SECRET_LENGTH);
      if (bad >= 0) {
        data.fill(0, 0, inputs);
        sodium.HEAPU8.fill(0, secretsAt, secretsAt + 32 + SECRET_LENGTH * count);
        return REFUSED + bad;
      }
      return answerSecrets(data, 32 + SECRET_LENGTH * count, inputs);
    },

    /**
     * x (32), public keys (32 each), routing blocks -> header (348), payload key (192) or its seed (16) of each hop;
     * REFUSED + index of a key with low order.
     * @param {number} count hops @param {boolean} explicit whole keys
     */
    sphinxHeader(count, explicit) {
      const data = shared();
      const bad = packets().header(data, count, explicit);
      const material = count * (explicit ? PAYLOAD_KEY_LENGTH : SEED_LENGTH);
      return settle(data, bad, 32 + 32 * count + routingLength(count), HEADER_LENGTH + material);
    },

    /**
     * x (32), public keys (32 each), routing blocks, payload (length) -> header (348), payload sealed; REFUSED + index
     * of a key with low order.
     * @param {number} count hops @param {number} length @param {boolean} explicit payload keys that are not from seeds
     */
    sphinxPacket(count, length, explicit) {
      const data = shared();
      const bad = packets().packet(data, count, length, explicit);
      return settle(data, bad, 32 + 32 * count + routingLength(count) + length, HEADER_LENGTH + length);
    },

    /** private key (32), alpha (32) -> secret (288); REFUSED on a low-order alpha. */
    nodeSecret() {
      const data = shared();
      if (!curve().nodeSecret(data.subarray(0, 32), data.subarray(32, 64), secretsAt)) {
        data.fill(0, 0, 64);
        return REFUSED;
      }
      return answerSecrets(data, SECRET_LENGTH, 64);
    },

    /** keys (16 each) -> keystreams (length each) @param {number} count @param {number} length */
    keystreams(count, length) {
      const data = shared();
      const keys = data.slice(0, 16 * count);
      block.keystreams(keys, count, length, data);
      keys.fill(0);
      data.fill(0, count * length, Math.max(count * length, 16 * count));
      return DONE;
    },

    /** seeds (16 each, at most 5) -> payload keys (192 each) @param {number} count */
    payloadKeys(count) {
      const data = shared();
      if (!payloadKeyOrNull) throw new Error("no parameters were given");
      const keys = secretsAt + SEED_LENGTH * MAX_HOPS;
      sodium.HEAPU8.set(data.subarray(0, SEED_LENGTH * count), secretsAt);
      for (let i = 0; i < count; i++) {
        const at = keys + PAYLOAD_KEY_LENGTH * i;
        payloadKeyOrNull(secretsAt + SEED_LENGTH * i, SEED_LENGTH, at, PAYLOAD_KEY_LENGTH);
      }
      data.set(sodium.HEAPU8.subarray(keys, keys + PAYLOAD_KEY_LENGTH * count));
      sodium.HEAPU8.fill(0, secretsAt, keys + PAYLOAD_KEY_LENGTH * count);
      return DONE;
    },

    /** keys (192 each), block (length) -> block @param {number} count @param {number} length @param {number} decrypt */
    lioness(count, length, decrypt) {
      const data = shared();
      const inputs = 192 * count + length;
      block.lioness(data.subarray(0, 192 * count), decrypt !== 0, data.subarray(192 * count, inputs), data);
      data.fill(0, length, inputs);
      return DONE;
    },

    /**
     * ephemeral secret (32), recipient key (32), plaintext (length) -> ephemeral public key (32), ciphertext (length);
     * REFUSED on a low-order key.
     * @param {number} length
     */
    sealFragment(length) {
      const data = shared();
      const secret = data.slice(0, 32);
      const result = new Uint8Array(32 + length);
      const shape = result.subarray(0, 32);
      if (!curve().x25519Known(secret, data.subarray(32, 64), shape)) {
        secret.fill(0);
        data.fill(0, 0, 64 + length);
        return REFUSED;
      }
      const key = fragmentKey(shape);
      result.set(fragmentCipher(key, data.slice(64, 64 + length)), 32);
      curve().x25519Base(secret, shape);
      secret.fill(0);
      key.fill(0);
      return answer(data, result, 64 + length);
    },

    /** private key (32), sealed (32 + length) -> plaintext (length); REFUSED on a low-order key. @param {number} length */
    openFragment(length) {
      const data = shared();
      const secret = new Uint8Array(32);
      if (!curve().x25519(data.subarray(0, 32), data.subarray(32, 64), secret)) {
        data.fill(0, 0, 64 + length);
        return REFUSED;
      }
      const key = fragmentKey(secret);
      const result = fragmentCipher(key, data.slice(64, 64 + length));
      secret.fill(0);
      key.fill(0);
      return answer(data, result, 64 + length);
    },

    /** How many keys have a table. For tests. */
    tableCount: () => curve().tables.count(),

    /** t (32) -> clamped scalar (32); REFUSED when none fits. For tests. */
    ladderScalar() {
      const data = shared();
      return curve().ladderScalar(data.subarray(0, 32), data.subarray(0, 32)) ? DONE : REFUSED;
    },
  };
}
