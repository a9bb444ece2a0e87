// A whole Sphinx header, and a whole packet, from secrets, keys and routing blocks (docs/protocol/sphinx.md 2.4 to 2.9).
//
// What Python lays out comes in one buffer: the plain routing block of each hop, without the MAC and what is nested in it.
// smolmix_web/crypto/onion.py does the same on single primitives. Everything happens on libsodium's heap.

import { aesCtr } from "./ciphers.js";
import { SECRET_LENGTH } from "./curve.js";

const MAX_HOPS = 5;
const ALPHA = 32;
const MAC = 16;
const FORWARD_META = 44;
const SLOT = FORWARD_META + MAC;
const BETA = MAX_HOPS * SLOT;
const KEYSTREAM = BETA + SLOT;
export const HEADER_LENGTH = ALPHA + MAC + BETA;

/** Fields of a hop's secret (2.4). */
const RHO = 0;
const MU = 16;
const KEY = 32;
const SEED_LENGTH = 16;
const PAYLOAD_KEY_LENGTH = 192;
/** What a sender needs of a secret: up to the blinding factor; of the last one up to the payload key or its seed. */
const INNER_SECRET = 256;
const LAST_WITH_KEY = 224;
const LAST_WITH_SEED = 64;

const ZERO_IV = new Uint8Array(16);
const ZEROS = new Uint8Array(KEYSTREAM);

/** Length of the routing blocks of a route. @param {number} count */
export const routingLength = (count) => FORWARD_META * (count - 1) + BETA - SLOT * (count - 1);

/**
 * @param {import("libsodium-sumo").Sodium} sodium
 * @param {ReturnType<typeof import("./curve.js").createCurve>} curve
 * @param {import("./hkdf.js").Hkdf} derivePayloadKey
 * @param {ReturnType<typeof import("./ciphers.js").createCiphers>} block
 */
export function createPackets(sodium, curve, derivePayloadKey, block) {
  const stateBytes = sodium._crypto_auth_hmacsha256_statebytes();
  const state = sodium._malloc(stateBytes + 32 + HEADER_LENGTH + ALPHA + MAX_HOPS * SECRET_LENGTH + PAYLOAD_KEY_LENGTH);
  if (state === 0) throw new Error("libsodium is out of memory");
  const digest = state + stateBytes;
  const header = digest + 32;
  const mac = header + ALPHA;
  const beta = mac + MAC;
  const alpha = header + HEADER_LENGTH;
  const secrets = alpha + ALPHA;
  const key = secrets + MAX_HOPS * SECRET_LENGTH;
  const end = key + PAYLOAD_KEY_LENGTH;
  const streams = new Uint8Array(MAX_HOPS * KEYSTREAM);
  const payloadKeys = new Uint8Array(MAX_HOPS * PAYLOAD_KEY_LENGTH); // outside of the heap, which may move

  /** @param {number} hop */
  const secretOf = (hop) => secrets + SECRET_LENGTH * hop;

  /** @param {number} hop @param {number} length */
  function makeStream(hop, length) {
    const key = sodium.HEAPU8.subarray(secretOf(hop) + RHO, secretOf(hop) + RHO + 16);
    const at = KEYSTREAM * hop;
    aesCtr(key, ZERO_IV, ZEROS.subarray(0, length), streams.subarray(at, at + length));
  }

  /** The MAC over the routing information as it stands. @param {number} hop */
  function authenticate(hop) {
    sodium._crypto_auth_hmacsha256_init(state, secretOf(hop) + MU, 16);
    sodium._crypto_auth_hmacsha256_update(state, beta, BETA, 0);
    sodium._crypto_auth_hmacsha256_final(state, digest);
    sodium.HEAPU8.copyWithin(mac, digest, digest + MAC);
  }

  /** The header at its place, from the secrets at theirs. @param {Uint8Array} routing @param {number} count */
  function wrap(routing, count) {
    const heap = sodium.HEAPU8;
    const last = count - 1;
    const inner = FORWARD_META * last;
    const finalLength = BETA - SLOT * last;
    for (let hop = 0; hop < last; hop++) makeStream(hop, KEYSTREAM);
    makeStream(last, finalLength);

    // The final block under its stream, and behind it the filler: what the hops before shift in (2.6).
    heap.set(routing.subarray(inner, inner + finalLength), beta);
    for (let i = 0; i < finalLength; i++) heap[beta + i] ^= streams[KEYSTREAM * last + i];
    const filler = beta + finalLength;
    heap.fill(0, filler, beta + BETA);
    for (let hop = 0; hop < last; hop++) {
      const size = SLOT * (hop + 1);
      const from = KEYSTREAM * (hop + 1) - size;
      for (let i = 0; i < size; i++) heap[filler + i] ^= streams[from + i];
    }
    authenticate(last);
    for (let hop = last - 1; hop >= 0; hop--) {
      heap.copyWithin(beta + FORWARD_META, mac, beta + BETA - SLOT);
      heap.set(routing.subarray(FORWARD_META * hop, FORWARD_META * (hop + 1)), beta);
      for (let i = 0; i < BETA; i++) heap[beta + i] ^= streams[KEYSTREAM * hop + i];
      authenticate(hop);
    }
    heap.copyWithin(header, alpha, alpha + ALPHA);
  }

  /** Secrets and header; see `header`. @param {Uint8Array} data @param {number} count @param {boolean} explicit */
  function build(data, count, explicit) {
    const keysEnd = 32 + 32 * count;
    const last = explicit ? LAST_WITH_KEY : LAST_WITH_SEED;
    const bad = curve.headerSecrets(data.subarray(0, 32), data.subarray(32, keysEnd), count, alpha, INNER_SECRET, last);
    if (bad < 0) wrap(data.subarray(keysEnd, keysEnd + routingLength(count)), count);
    return bad;
  }

  function wipe() {
    sodium.HEAPU8.fill(0, state, end);
    streams.fill(0);
    payloadKeys.fill(0);
  }

  return {
    /**
     * Initial secret (32), public keys (32 each), routing blocks -> header (348), then for each hop its payload key (192)
     * or the seed of it (16), both in place. -1 when all is well, else the index of the hop whose key has low order.
     * @param {Uint8Array} data @param {number} count hops @param {boolean} explicit whole keys
     */
    header(data, count, explicit) {
      const bad = build(data, count, explicit);
      if (bad < 0) {
        const size = explicit ? PAYLOAD_KEY_LENGTH : SEED_LENGTH;
        data.set(sodium.HEAPU8.subarray(header, header + HEADER_LENGTH));
        for (let hop = 0; hop < count; hop++) {
          const from = secretOf(hop) + KEY;
          data.set(sodium.HEAPU8.subarray(from, from + size), HEADER_LENGTH + size * hop);
        }
      }
      wipe();
      return bad;
    },

    /**
     * The same inputs, then the plain payload -> header (348), sealed payload.
     * @param {Uint8Array} data @param {number} count @param {number} length of the payload @param {boolean} explicit
     */
    packet(data, count, length, explicit) {
      const bad = build(data, count, explicit);
      if (bad < 0) {
        for (let hop = 0; hop < count; hop++) {
          let from = secretOf(hop) + KEY;
          if (!explicit) {
            derivePayloadKey(from, SEED_LENGTH, key, PAYLOAD_KEY_LENGTH);
            from = key;
          }
          payloadKeys.set(sodium.HEAPU8.subarray(from, from + PAYLOAD_KEY_LENGTH), PAYLOAD_KEY_LENGTH * hop);
        }
        const plain = 32 + 32 * count + routingLength(count);
        const used = payloadKeys.subarray(0, PAYLOAD_KEY_LENGTH * count);
        block.lioness(used, false, data.subarray(plain, plain + length), data.subarray(HEADER_LENGTH));
        data.set(sodium.HEAPU8.subarray(header, header + HEADER_LENGTH));
      }
      wipe();
      return bad;
    },
  };
}
