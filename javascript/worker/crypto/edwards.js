// Public keys of Curve25519 as points of its Edwards form, and the table of multiples that libsodium's fixed-base
// multiplication works with: 32 rows of j * 256^i * Y, j = 1..8.
//
// Everything here is public, so BigInt arithmetic may take its time from it.
//
// A key of the curve maps to -x^2 + y^2 = 1 + d x^2 y^2 by y = (u - 1) / (u + 1); either root x will do, since u is the
// same for a point and its negative. The map and the formulas of addition have no exceptions there.

const P = (1n << 255n) - 19n;
const BITS = 255n;
const A = 486662n;
const D = 0x52036cee2b6ffe738cc740797779e89800700a4d4141d8ab75eb4dca135978a3n;
const SQRT_MINUS_ONE = 0x2b8324804fc1df0b2b4d00993dfbd7a72f431806ad2fe478c4ee1b274a0ea0b0n;
export const BASE_U = 9n;

const ROWS = 32;
const COLUMNS = 8;
const LIMBS = 10; // signed, of 26 and 25 bits in turn
const FIELDS = 3; // y + x, y - x, 2dxy
const ENTRY_BYTES = FIELDS * LIMBS * 4;
const TABLE_BYTES = ROWS * COLUMNS * ENTRY_BYTES;

/** Not quite reduced: 0 <= result < 2^255 + small, for any product of sums. @param {bigint} value */
function reduce(value) {
  value = BigInt.asUintN(255, value) + 19n * (value >> BITS);
  return BigInt.asUintN(255, value) + 19n * (value >> BITS);
}

/** Fully reduced. @param {bigint} value */
function canonical(value) {
  value %= P;
  return value < 0n ? value + P : value;
}

/** @param {bigint} base @param {bigint} exponent */
function power(base, exponent) {
  base = canonical(base);
  let result = 1n;
  for (; exponent > 0n; exponent >>= 1n) {
    if (exponent & 1n) result = reduce(result * base);
    base = reduce(base * base);
  }
  return canonical(result);
}

/** @param {bigint} value */
const inverse = (value) => power(value, P - 2n);

/**
 * Extended coordinates: x = X/Z, y = Y/Z, T = XY/Z.
 * @typedef {{ X: bigint, Y: bigint, Z: bigint, T: bigint }} Point
 */

/** The point of the Edwards curve for a u coordinate, or null for one of the twist. @param {bigint} u @returns {Point | null} */
function fromMontgomery(u) {
  const y = canonical((u - 1n) * inverse(u + 1n));
  const square = reduce(y * y);
  // x^2 = (y^2 - 1) / (d y^2 + 1); the root by RFC 8032 5.1.3.
  const target = reduce((square - 1n) * inverse(D * square + 1n));
  let x = power(target, (P + 3n) / 8n);
  if (canonical(x * x - target) !== 0n) x = canonical(x * SQRT_MINUS_ONE);
  if (canonical(x * x - target) !== 0n) return null;
  if (x & 1n) x = P - x; // the base point's own choice
  return { X: x, Y: y, Z: 1n, T: reduce(x * y) };
}

/** @param {Point} p @param {Point} q @returns {Point} */
function add(p, q) {
  const a = reduce((p.Y - p.X) * (q.Y - q.X));
  const b = reduce((p.Y + p.X) * (q.Y + q.X));
  const c = reduce(reduce(2n * D * p.T) * q.T);
  const d = reduce(2n * p.Z * q.Z);
  return combine(b - a, d - c, d + c, b + a);
}

/** @param {Point} p @returns {Point} */
function double(p) {
  const a = reduce(p.X * p.X);
  const b = reduce(p.Y * p.Y);
  const sum = p.X + p.Y;
  const h = a + b;
  const g = a - b;
  return combine(h - reduce(sum * sum), 2n * reduce(p.Z * p.Z) + g, g, h);
}

/** @param {bigint} e @param {bigint} f @param {bigint} g @param {bigint} h @returns {Point} */
function combine(e, f, g, h) {
  return { X: reduce(e * f), Y: reduce(g * h), Z: reduce(f * g), T: reduce(e * h) };
}

/** All 256 points in the order of the table. @param {Point} point */
function multiples(point) {
  const points = [];
  for (let row = 0; row < ROWS; row++) {
    const second = double(point);
    const third = add(second, point);
    const fourth = double(second);
    const fifth = add(fourth, point);
    const sixth = double(third);
    const seventh = add(sixth, point);
    const eighth = double(fourth);
    points.push(point, second, third, fourth, fifth, sixth, seventh, eighth);
    point = eighth;
    for (let i = 0; i < 5; i++) point = double(point); // 8 * 2^5 = 256
  }
  return points;
}

/** 1/Z of each point with one inversion. @param {Point[]} points */
function inverses(points) {
  const products = [];
  let product = 1n;
  for (const { Z } of points) {
    products.push(product);
    product = reduce(product * Z);
  }
  let rest = inverse(product);
  const answer = new Array(points.length);
  for (let i = points.length - 1; i >= 0; i--) {
    answer[i] = reduce(rest * products[i]);
    rest = reduce(rest * points[i].Z);
  }
  return answer;
}

const words = new BigUint64Array(4);
const halves = new Uint32Array(words.buffer);

/** The field element as libsodium keeps it. @param {bigint} value @param {Int32Array} out @param {number} at */
function putElement(value, out, at) {
  value = canonical(value);
  words[0] = value;
  words[1] = value >> 64n;
  words[2] = value >> 128n;
  words[3] = value >> 192n;
  let carry = 0;
  for (let limb = 0, bit = 0; limb < LIMBS; limb++) {
    const size = limb % 2 === 0 ? 26 : 25;
    const word = bit >> 5;
    const shift = bit & 31;
    let part = halves[word] >>> shift;
    if (shift + size > 32) part |= halves[word + 1] << (32 - shift);
    part = (part & ((1 << size) - 1)) + carry;
    carry = part >> (size - 1);
    out[at + limb] = part - (carry << size);
    bit += size;
  }
  out[at] += 19 * carry;
}

/** @param {bigint} u @returns {Uint8Array<ArrayBuffer> | null} the table, null for a u coordinate of the twist */
export function makeTable(u) {
  const point = fromMontgomery(u);
  if (!point) return null;
  const points = multiples(point);
  const scale = inverses(points);
  const out = new Int32Array(TABLE_BYTES / 4);
  points.forEach(({ X, Y }, index) => {
    const x = reduce(X * scale[index]);
    const y = reduce(Y * scale[index]);
    const at = (index * ENTRY_BYTES) / 4;
    putElement(y + x, out, at);
    putElement(y - x, out, at + LIMBS);
    putElement(2n * D * reduce(x * y), out, at + 2 * LIMBS);
  });
  return new Uint8Array(out.buffer);
}

/** The u coordinate: top bit ignored, reduced. @param {Uint8Array} point */
export function coordinate(point) {
  let hex = "0x";
  for (let i = 31; i >= 0; i--) hex += point[i].toString(16).padStart(2, "0");
  return BigInt.asUintN(255, BigInt(hex)) % P;
}

/**
 * Whether a 32-byte u coordinate belongs to a point of the curve and not of its twist. Public keys are public, so BigInt
 * arithmetic may take its time from them. u = 0 is answered with false.
 * @param {Uint8Array} point
 */
export function isOnCurve(point) {
  const u = coordinate(point);
  // Euler's criterion.
  return power(((u + A) * u + 1n) * u, (P - 1n) / 2n) === 1n;
}
