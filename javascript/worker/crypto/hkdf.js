// HKDF-SHA256 (RFC 5869) with a fixed salt and info, on libsodium's heap (docs/protocol/sphinx.md 2.4, 2.5).
//
// The keyed state of the extract step is computed once, that of the expand step once for each key: two of four
// compressions per HMAC are saved against calling it as a whole.

/** @typedef {import("libsodium-sumo").Sodium} Sodium */

/**
 * Derives `length` bytes (a multiple of 32) at `out` from the input key at `input`; all are heap addresses.
 * @typedef {(input: number, inputLength: number, out: number, length: number) => void} Hkdf
 */

const HASH = 32;

/**
 * @param {Sodium} sodium
 * @param {Uint8Array} salt may be empty
 * @param {Uint8Array} info
 * @returns {Hkdf}
 */
export function createHkdf(sodium, salt, info) {
  const stateBytes = sodium._crypto_auth_hmacsha256_statebytes();
  // The states want alignment, so they come first: previous block || info || counter follows them.
  const extractState = sodium._malloc(3 * stateBytes + HASH + Math.max(HASH + info.length + 1, salt.length));
  if (extractState === 0) throw new Error("libsodium is out of memory");
  const expandState = extractState + stateBytes;
  const state = expandState + stateBytes;
  const prk = state + stateBytes;
  const block = prk + HASH;
  const blockLength = HASH + info.length + 1;

  sodium.HEAPU8.set(salt, block);
  sodium._crypto_auth_hmacsha256_init(extractState, block, salt.length);
  sodium.HEAPU8.set(info, block + HASH);

  return (input, inputLength, out, length) => {
    const heap = sodium.HEAPU8;
    heap.copyWithin(state, extractState, extractState + stateBytes);
    sodium._crypto_auth_hmacsha256_update(state, input, inputLength, 0);
    sodium._crypto_auth_hmacsha256_final(state, prk);
    sodium._crypto_auth_hmacsha256_init(expandState, prk, HASH);
    for (let i = 0; i < length / HASH; i++) {
      heap.copyWithin(state, expandState, expandState + stateBytes);
      heap[block + blockLength - 1] = i + 1;
      const skip = i === 0 ? HASH : 0;
      sodium._crypto_auth_hmacsha256_update(state, block + skip, blockLength - skip, 0);
      sodium._crypto_auth_hmacsha256_final(state, block);
      heap.copyWithin(out + HASH * i, block, block + HASH);
    }
    heap.fill(0, expandState, block + HASH);
  };
}
