/**
 * What an object is, whichever window it was made in: `instanceof` knows this one's alone, the browser's own checks do not
 * ask where an object comes from.
 *
 * @module
 */

/**
 * @param {object} prototype
 * @param {string} attribute of it, whose getter refuses what is no such object
 * @returns {(value: unknown) => boolean}
 */
function brand(prototype, attribute) {
  const { get } = /** @type {PropertyDescriptor} */ (Object.getOwnPropertyDescriptor(prototype, attribute));
  return (value) => {
    try {
      get?.call(value);
      return true;
    } catch {
      return false;
    }
  };
}

export const isBlob = /** @type {(value: unknown) => value is Blob} */ (brand(Blob.prototype, "size"));
export const isRequest = /** @type {(value: unknown) => value is Request} */ (brand(Request.prototype, "url"));
export const isStream = /** @type {(value: unknown) => value is ReadableStream} */ (brand(ReadableStream.prototype, "locked"));
