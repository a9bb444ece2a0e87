/**
 * Marks in the worker's own performance timeline: how far a start is, and when. Nothing reads them but developer tools and
 * `build.py bench start`; they are the same few in every start, and hold no more than a time.
 *
 * @module
 */

export const PREFIX = "smolmix ";

/**
 * @template T
 * @param {string} name @param {T} [value] handed on
 * @returns {T}
 */
export function mark(name, value) {
  performance.mark?.(PREFIX + name);
  return /** @type {T} */ (value);
}
