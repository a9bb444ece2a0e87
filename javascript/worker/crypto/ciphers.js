// Ciphers and hashes of the packet layer: AES by noble, ChaCha20 and BLAKE2b by libsodium, BLAKE3 by noble, and the
// batches made of them (docs/protocol/sphinx.md 2.6, 2.9, 6.1).
//
// noble's AES looks its tables up with secret indices; a page that shares a core with a hostile one may leak through
// the cache. JavaScript has no synchronous AES that does better.

import { ctr, gcmsiv } from "@noble/ciphers/aes.js";
import { blake3 } from "@noble/hashes/blake3.js";

/** @typedef {import("libsodium-sumo").Sodium} Sodium */

const ZERO_IV = new Uint8Array(16);
const HMAC_BLOCK = 64;
const LIONESS_KEY = 192;
const LEFT = 32;
const NONCE_BYTES = 8;
/** Up to this size the work area in libsodium's heap is kept from call to call. */
const KEPT = 65536;

/**
 * AES-128-CTR, into `out` where one is given: aligned to 4 bytes, apart from the data.
 * @param {Uint8Array} key @param {Uint8Array} iv @param {Uint8Array} data @param {Uint8Array} [out]
 */
export function aesCtr(key, iv, data, out) {
  return ctr(key, iv).encrypt(data, out);
}

/** @param {Uint8Array} key @param {Uint8Array} nonce @param {Uint8Array} plaintext */
export function sivSeal(key, nonce, plaintext) {
  return gcmsiv(key, nonce).encrypt(plaintext);
}

/**
 * The plaintext, or null when the tag does not check.
 * @param {Uint8Array} key @param {Uint8Array} nonce @param {Uint8Array} sealed
 */
export function sivOpen(key, nonce, sealed) {
  if (sealed.length < 16) return null;
  try {
    return gcmsiv(key, nonce).decrypt(sealed);
  } catch {
    return null; // lengths are right, so nothing but the tag can be wrong
  }
}

export { blake3 };

/**
 * RFC 2104 around plain BLAKE3, key of at most 64 bytes.
 * @param {Uint8Array} key @param {Uint8Array} data
 */
function hmacBlake3(key, data) {
  const inner = new Uint8Array(HMAC_BLOCK + data.length).fill(0x36, 0, HMAC_BLOCK);
  const outer = new Uint8Array(HMAC_BLOCK + 32).fill(0x5c, 0, HMAC_BLOCK);
  for (let i = 0; i < key.length; i++) {
    inner[i] ^= key[i];
    outer[i] ^= key[i];
  }
  inner.set(data, HMAC_BLOCK);
  outer.set(blake3(inner), HMAC_BLOCK);
  const digest = blake3(outer);
  inner.fill(0);
  outer.fill(0);
  return digest;
}

/** The AES key of the end-to-end layer from its X25519 secret (sphinx.md 6.1). @param {Uint8Array} shared */
export function fragmentKey(shared) {
  const prk = hmacBlake3(new Uint8Array(0), shared);
  return hmacBlake3(prk, new Uint8Array([1])).subarray(0, 16);
}

/** @param {Sodium} sodium */
export function createCiphers(sodium) {
  let capacity = 0;
  let area = 0;
  // A zero nonce, then room for the XORed ChaCha20 key and for a digest.
  const small = sodium._malloc(NONCE_BYTES + 64);
  if (small === 0) throw new Error("libsodium is out of memory");
  sodium.HEAPU8.fill(0, small, small + NONCE_BYTES + 64);
  const chachaKey = small + NONCE_BYTES;
  const digest = chachaKey + 32;

  /** Runs `work` with the address of `size` bytes of libsodium's heap. @param {number} size @param {(at: number) => void} work */
  function withArea(size, work) {
    if (size > capacity) {
      if (area) sodium._free(area);
      capacity = 0;
      area = sodium._malloc(Math.max(size, 4096));
      if (area === 0) throw new RangeError("libsodium is out of memory");
      capacity = Math.max(size, 4096);
    }
    work(area);
    sodium.HEAPU8.fill(0, area, area + size);
    if (capacity > KEPT) {
      sodium._free(area);
      area = capacity = 0;
    }
  }

  /** right ^= ChaCha20(left ^ key). @param {number} left @param {number} right @param {number} size @param {number} key */
  function stream(left, right, size, key) {
    const heap = sodium.HEAPU8;
    for (let i = 0; i < LEFT; i++) heap[chachaKey + i] = heap[left + i] ^ heap[key + i];
    sodium._crypto_stream_chacha20_xor(right, right, size, 0, small, chachaKey);
  }

  /** left ^= BLAKE2b(key, right). @param {number} left @param {number} right @param {number} size @param {number} key */
  function hash(left, right, size, key) {
    sodium._crypto_generichash(digest, LEFT, right, size, 0, key, 64);
    const heap = sodium.HEAPU8;
    for (let i = 0; i < LEFT; i++) heap[left + i] ^= heap[digest + i];
  }

  return {
    /** @param {Uint8Array} key @param {Uint8Array} data @param {Uint8Array} out */
    chacha20(key, data, out) {
      withArea(data.length, (at) => {
        sodium.HEAPU8.set(key, chachaKey);
        sodium.HEAPU8.set(data, at);
        sodium._crypto_stream_chacha20_xor(at, at, data.length, 0, small, chachaKey);
        out.set(sodium.HEAPU8.subarray(at, at + data.length));
        sodium.HEAPU8.fill(0, chachaKey, chachaKey + 32);
      });
    },

    /**
     * All LIONESS layers of a block; the result goes to `out`, which may begin before the block in the same memory.
     * @param {Uint8Array} keys 192 bytes each, in route order
     * @param {boolean} decrypt @param {Uint8Array} data @param {Uint8Array} out
     */
    lioness(keys, decrypt, data, out) {
      const count = keys.length / LIONESS_KEY;
      withArea(keys.length + data.length, (at) => {
        sodium.HEAPU8.set(keys, at);
        const left = at + keys.length;
        sodium.HEAPU8.set(data, left);
        const right = left + LEFT;
        const size = data.length - LEFT;
        for (let i = 0; i < count; i++) {
          const key = at + LIONESS_KEY * (decrypt ? i : count - 1 - i);
          if (decrypt) {
            hash(left, right, size, key + 128);
            stream(left, right, size, key + 96);
            hash(left, right, size, key + 32);
            stream(left, right, size, key);
          } else {
            stream(left, right, size, key);
            hash(left, right, size, key + 32);
            stream(left, right, size, key + 96);
            hash(left, right, size, key + 128);
          }
        }
        out.set(sodium.HEAPU8.subarray(left, right + size));
        sodium.HEAPU8.fill(0, chachaKey, digest + 32);
      });
    },

    /**
     * AES-128-CTR keystreams with zero IV, `count` 16-byte keys one after another.
     * @param {Uint8Array} keys @param {number} count @param {number} length @param {Uint8Array} out
     */
    keystreams(keys, count, length, out) {
      const zeros = new Uint8Array(length);
      for (let i = 0; i < count; i++) out.set(aesCtr(keys.subarray(16 * i, 16 * i + 16), ZERO_IV, zeros), length * i);
    },
  };
}

/** AES-128-CTR with zero IV. @param {Uint8Array} key @param {Uint8Array} data */
export function fragmentCipher(key, data) {
  return aesCtr(key, ZERO_IV, data);
}
