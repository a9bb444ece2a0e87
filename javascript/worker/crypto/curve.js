// X25519 on libsodium's heap, and the sender's secrets of a Sphinx header with one multiplication per hop
// (docs/protocol/sphinx.md 2.4 and 2.7).
//
// The shared secret of hop i is the chain X25519(b_{i-1}, ... X25519(b_0, X25519(x, Y_i))). Every scalar is clamped,
// so it is 8 times an integer between 2^251 and 2^252. Write the product of all clamped scalars as 8*t. Points of the
// curve form a group of order 8*l, and 8 times any point lies in the subgroup of prime order l, so t may be reduced
// mod l: libsodium's constant-time scalar multiplication does that, starting from x/8 (below l, exact).
// X25519 itself computes (8*t)*Y whenever 2^251 <= t < 2^252, because clamping then changes nothing. Half of the
// residues mod l are like that; for the others l - t is, and it gives the negated point, whose u coordinate is the same.
// So one ordinary X25519 with the right scalar replaces the chain. Two exceptions take the plain chain:
// * points of the twist (X25519 accepts them), whose group has another order; they are told apart by one Legendre symbol;
// * t for which neither form fits, that is 2^252 <= t < l or its mirror: a chance of 2^-126.
// Low-order and mixed-order points of the curve need no exception: the factor 8 removes torsion in both ways alike.
// Keys that come often are multiplied by a table of their own (tables.js).

import { createTables } from "./tables.js";

/** Scratch layout, relative to its start; wiped after use. */
const POINT = 0;
const SHARED = 32;
const LADDER = 64;
const SCALARS = 96; // x and up to 5 blinding factors
const FACTOR = 288; // t
const NEGATED = 320;
const SIZE = 352;

export const SECRET_LENGTH = 288;
const BLINDING_FACTOR = 224;

/**
 * @typedef {import("libsodium-sumo").Sodium} Sodium
 * @typedef {import("./hkdf.js").Hkdf} Hkdf
 */

/**
 * @param {Sodium} sodium
 * @param {Hkdf} expand the key derivation of sphinx.md 2.4
 */
export function createCurve(sodium, expand) {
  const base = sodium._malloc(SIZE);
  if (base === 0) throw new Error("libsodium is out of memory");
  const tables = createTables(sodium);

  /** Everything in the scratch memory becomes zero, and libsodium's table is in its place. */
  function wipe() {
    tables.restore();
    sodium.HEAPU8.fill(0, base, base + SIZE);
  }

  /** The clamped scalar for one X25519 that multiplies by 8*t, t at FACTOR, to LADDER; false when there is none. */
  function ladderScalar() {
    const heap = sodium.HEAPU8;
    sodium._crypto_core_ed25519_scalar_negate(base + NEGATED, base + FACTOR);
    // Bit 251 of t chooses, without a branch: all ones keeps t, zero takes l - t.
    const keep = -((heap[base + FACTOR + 31] >> 3) & 1);
    let carry = 0;
    for (let i = 0; i < 32; i++) {
      const one = heap[base + FACTOR + i];
      const other = heap[base + NEGATED + i];
      const byte = other ^ ((one ^ other) & keep);
      heap[base + LADDER + i] = (byte << 3) | carry;
      carry = byte >> 5;
    }
    // 2^254 <= 8*t < 2^255, the range of a clamped scalar; `carry` holds what did not fit into 256 bits.
    return (heap[base + LADDER + 31] >> 6) === 1 && carry === 0;
  }

  /** The scalar at `slot` is clamped in place (RFC 7748 section 5). @param {number} slot */
  function clamp(slot) {
    const heap = sodium.HEAPU8;
    heap[slot] = heap[slot] & 248;
    heap[slot + 31] = (heap[slot + 31] & 127) | 64;
  }

  /**
   * X25519 of the scalar and point given, to SHARED; false on an all-zero result.
   * @param {number} scalar @param {number} point
   */
  function multiply(scalar, point) {
    return sodium._crypto_scalarmult_curve25519(base + SHARED, scalar, point) === 0;
  }

  /**
   * X25519 with a key that may have a table, whose bytes are at POINT; to SHARED, false on an all-zero result.
   * @param {number} scalar @param {import("./tables.js").KnownKey} key
   */
  function multiplyKnown(scalar, key) {
    if (!key.table) return multiply(scalar, base + POINT);
    tables.multiply(base + SHARED, scalar, key.table);
    let bits = 0;
    for (let i = 0; i < 32; i++) bits |= sodium.HEAPU8[base + SHARED + i];
    return bits !== 0;
  }

  /** See `headerSecrets`. @type {(initial: Uint8Array, points: Uint8Array, count: number, out: number, inner: number, last: number) => number} */
  function senderSecrets(initial, points, count, out, inner, last) {
    sodium.HEAPU8.set(initial, base + SCALARS);
    clamp(base + SCALARS);
    sodium._crypto_scalarmult_curve25519_base(out, base + SCALARS);
    const heap = sodium.HEAPU8;
    for (let i = 0; i < 32; i++) {
      const next = i === 31 ? 0 : heap[base + SCALARS + i + 1];
      heap[base + FACTOR + i] = (heap[base + SCALARS + i] >> 3) | (next << 5);
    }
    for (let hop = 0; hop < count; hop++) {
      const point = points.subarray(32 * hop, 32 * hop + 32);
      const key = tables.use(point);
      heap.set(point, base + POINT);
      let good;
      if (key.onCurve && ladderScalar()) {
        good = multiplyKnown(base + LADDER, key);
      } else {
        good = multiply(base + SCALARS, base + POINT);
        for (let i = 1; i <= hop && good; i++) {
          heap.copyWithin(base + POINT, base + SHARED, base + SHARED + 32);
          good = multiply(base + SCALARS + 32 * i, base + POINT);
        }
      }
      if (!good) return hop;
      const secret = out + 32 + SECRET_LENGTH * hop;
      if (hop === count - 1) {
        expand(base + SHARED, 32, secret, last);
        break;
      }
      expand(base + SHARED, 32, secret, inner);
      const scalar = base + SCALARS + 32 * (hop + 1);
      heap.copyWithin(scalar, secret + BLINDING_FACTOR, secret + BLINDING_FACTOR + 32);
      clamp(scalar);
      sodium._crypto_core_ed25519_scalar_mul(base + FACTOR, base + FACTOR, scalar);
    }
    return -1;
  }

  return {
    tables,

    /**
     * Shared secret of two 32-byte values; false on an all-zero result.
     * @param {Uint8Array} scalar @param {Uint8Array} point @param {Uint8Array} out
     */
    x25519(scalar, point, out) {
      sodium.HEAPU8.set(scalar, base + SCALARS);
      sodium.HEAPU8.set(point, base + POINT);
      const good = multiply(base + SCALARS, base + POINT);
      out.set(sodium.HEAPU8.subarray(base + SHARED, base + SHARED + 32));
      wipe();
      return good;
    },

    /**
     * The same with the key of a peer that may come again.
     * @param {Uint8Array} scalar @param {Uint8Array} point @param {Uint8Array} out
     */
    x25519Known(scalar, point, out) {
      const key = tables.use(point);
      sodium.HEAPU8.set(scalar, base + SCALARS);
      sodium.HEAPU8.set(point, base + POINT);
      try {
        const good = multiplyKnown(base + SCALARS, key);
        out.set(sodium.HEAPU8.subarray(base + SHARED, base + SHARED + 32));
        return good;
      } finally {
        wipe();
      }
    },

    /** @param {Uint8Array} scalar @param {Uint8Array} out */
    x25519Base(scalar, out) {
      sodium.HEAPU8.set(scalar, base + SCALARS);
      sodium._crypto_scalarmult_curve25519_base(base + SHARED, base + SCALARS);
      out.set(sodium.HEAPU8.subarray(base + SHARED, base + SHARED + 32));
      wipe();
    },

    /**
     * Node side: the 288-byte secret of X25519(scalar, point) at the heap address `out`; false on an all-zero result.
     * @param {Uint8Array} scalar @param {Uint8Array} point @param {number} out
     */
    nodeSecret(scalar, point, out) {
      sodium.HEAPU8.set(scalar, base + SCALARS);
      sodium.HEAPU8.set(point, base + POINT);
      const good = multiply(base + SCALARS, base + POINT);
      if (good) expand(base + SHARED, 32, out, SECRET_LENGTH);
      wipe();
      return good;
    },

    /**
     * Sender side: alpha (32) and then the 288-byte secret of each hop, at the heap address `out`.
     * @param {Uint8Array} initial x, 32 bytes
     * @param {Uint8Array} points 32 bytes for each hop
     * @param {number} count hops, 1 to 5
     * @param {number} out
     * @param {number} inner how much of each secret is needed, a multiple of 32 and at least up to the blinding factor
     * @param {number} last the same for the last hop, which has no use for its blinding factor
     * @returns {number} -1 when all is well, else the index of the hop whose key has low order
     */
    headerSecrets(initial, points, count, out, inner, last) {
      try {
        return senderSecrets(initial, points, count, out, inner, last);
      } finally {
        wipe(); // also when there was no memory for a table
      }
    },

    /**
     * The choice of the ladder scalar alone, for tests: t (32 bytes, below l) to the clamped scalar; false if none fits.
     * @param {Uint8Array} factor @param {Uint8Array} out
     */
    ladderScalar(factor, out) {
      sodium.HEAPU8.set(factor, base + FACTOR);
      const fits = ladderScalar();
      out.set(sodium.HEAPU8.subarray(base + LADDER, base + LADDER + 32));
      wipe();
      return fits;
    },
  };
}
