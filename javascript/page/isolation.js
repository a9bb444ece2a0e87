/**
 * The key by which operations are kept apart: checked before anything is sent.
 *
 * @module
 */

/** As in options.py. */
const MAX_ISOLATION = 1024;

/**
 * @param {unknown} value
 * @returns {string | null} null: the tunnel's own
 */
export function checkIsolation(value) {
  if (value === undefined || value === null) return null;
  if (typeof value === "string" && value.length > 0 && value.length <= MAX_ISOLATION) return value;
  throw new TypeError(`isolation is a text of 1 to ${MAX_ISOLATION} characters`);
}
