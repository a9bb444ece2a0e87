// Fixed-base tables for the long-lived keys of nodes and peers: X25519 with them costs less than half.
//
// libsodium multiplies its base point by a table of multiples that lies in the module's memory: constant code over
// constant data. With the table of another point in that place, the same code multiplies that point, in constant time for
// the scalar as before. It stands there for the multiplications of one call only.
//
// The place is not an interface of libsodium. So it is trusted only where the memory holds, byte for byte, the table
// that edwards.js makes for the base point; otherwise there are no tables, and everything works as without them.

import { BASE_U, coordinate, isOnCurve, makeTable } from "./edwards.js";

/** Keys that are remembered: far more than a network has nodes. */
const KNOWN_KEYS = 2048;
/** 30 KB each; a network has some 300 nodes on routes. */
const MAX_TABLES = 256;
/** A table costs as much as sixty multiplications save: it is for keys that come again and again. */
const USES_BEFORE = 8;
/** Uses of any keys between the making of two tables, so that a tunnel's first seconds bear little of it. */
const USES_BETWEEN = 16;
/** A table gives way to another after so many uses of other keys. */
const IDLE_USES = 65_536;

/**
 * What is remembered of a public key.
 * @typedef {{ onCurve: boolean, uses: number, last: number, table: Uint8Array | null }} KnownKey
 * @typedef {import("libsodium-sumo").Sodium} Sodium
 */

/**
 * The keys used last, and tables for those used often.
 * @param {Sodium} sodium
 */
export function createTables(sodium) {
  /** In the order of their last use. @type {Map<string, KnownKey>} */
  const known = new Map();
  /** Those with a table, in that order. @type {Map<string, KnownKey>} */
  const tabled = new Map();
  /** @type {Uint8Array | null} */
  let original = null;
  let placed = false; // another table stands there
  let place = 0; // of libsodium's table, -1 where it was not found
  let uses = 0;
  let lastMade = 0;

  /** Where libsodium's own table lies; looked for once. */
  function findPlace() {
    if (place !== 0) return place > 0;
    place = -1;
    const wanted = /** @type {Uint8Array} */ (makeTable(BASE_U));
    const words = new Int32Array(wanted.buffer);
    const heap = new Int32Array(sodium.HEAPU8.buffer);
    const same = (/** @type {number} */ at) => words.every((word, index) => heap[at + index] === word);
    for (let at = heap.indexOf(words[0]); at >= 0; at = heap.indexOf(words[0], at + 1)) {
      if (!same(at)) continue;
      place = 4 * at;
      original = wanted;
      break;
    }
    return place > 0;
  }

  /** @param {string} name @param {KnownKey} key @param {Uint8Array} point */
  function considerTable(name, key, point) {
    if (uses - lastMade < USES_BETWEEN || !findPlace()) return;
    if (tabled.size >= MAX_TABLES) {
      const [oldest, entry] = /** @type {[string, KnownKey]} */ (tabled.entries().next().value);
      if (uses - entry.last < IDLE_USES) return;
      entry.table = null;
      tabled.delete(oldest);
    }
    key.table = makeTable(coordinate(point));
    if (key.table) tabled.set(name, key);
    lastMade = uses;
  }

  return {
    /** One more use of a key, and what is known of it. @param {Uint8Array} point @returns {KnownKey} */
    use(point) {
      const name = String.fromCharCode(...point);
      let key = known.get(name);
      if (key === undefined) {
        key = { onCurve: isOnCurve(point), uses: 0, last: 0, table: null };
        if (known.size >= KNOWN_KEYS) {
          const oldest = /** @type {string} */ (known.keys().next().value);
          known.delete(oldest);
          tabled.delete(oldest);
        }
      } else {
        known.delete(name);
      }
      known.set(name, key);
      key.uses++;
      key.last = ++uses;
      if (key.table) {
        tabled.delete(name);
        tabled.set(name, key);
      } else if (key.onCurve && key.uses >= USES_BEFORE) {
        considerTable(name, key, point);
      }
      return key;
    },

    /**
     * X25519 by a table: clamped inside, the result may be all zeros. Heap addresses. The table stays in libsodium's
     * place until `restore`, which must follow before anything else is asked of libsodium's curves.
     * @param {number} out @param {number} scalar @param {Uint8Array} table
     */
    multiply(out, scalar, table) {
      placed = true;
      sodium.HEAPU8.set(table, place);
      sodium._crypto_scalarmult_curve25519_base(out, scalar);
    },

    /** The base point's own table is back in its place. */
    restore() {
      if (placed) sodium.HEAPU8.set(/** @type {Uint8Array} */ (original), place);
      placed = false;
    },

    /** How many tables there are, for tests. */
    count: () => tabled.size,
  };
}
