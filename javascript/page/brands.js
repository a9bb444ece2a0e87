/**
 * What an object is, whichever window it was made in: `instanceof` knows this one's alone, the browser's own checks do not
 * ask where an object comes from. And sequences, converted as Web IDL has it (3.2.22).
 *
 * @module
 */

/**
 * @param {object | undefined} prototype
 * @param {string | symbol} attribute of it, whose getter refuses what is no such object, or gives undefined
 * @returns {(value: unknown) => boolean}
 */
function brand(prototype, attribute) {
  const get = prototype && Object.getOwnPropertyDescriptor(prototype, attribute)?.get;
  return (value) => {
    try {
      return get?.call(value) !== undefined;
    } catch {
      return false;
    }
  };
}

const TypedArray = Object.getPrototypeOf(Uint8Array.prototype);
const typeOf = /** @type {() => string | undefined} */ (Object.getOwnPropertyDescriptor(TypedArray, Symbol.toStringTag)?.get);

export const isArrayBuffer = /** @type {(value: unknown) => value is ArrayBuffer} */ (brand(ArrayBuffer.prototype, "byteLength"));
export const isBlob = /** @type {(value: unknown) => value is Blob} */ (brand(Blob.prototype, "size"));
export const isRequest = /** @type {(value: unknown) => value is Request} */ (brand(Request.prototype, "url"));
export const isSignal = /** @type {(value: unknown) => value is AbortSignal} */ (brand(AbortSignal.prototype, "aborted"));
export const isStream = /** @type {(value: unknown) => value is ReadableStream} */ (brand(ReadableStream.prototype, "locked"));
/** Pages that are not isolated have no name for it, and get such buffers all the same. */
export const isSharedBuffer = brand(sharedPrototype(), "byteLength");
/** @param {unknown} value @returns {value is Uint8Array} */
export const isBytes = (value) => typeOf.call(value) === "Uint8Array";

/** @returns {object | undefined} */
function sharedPrototype() {
  try {
    return Object.getPrototypeOf(new WebAssembly.Memory({ initial: 0, maximum: 0, shared: true }).buffer);
  } catch {
    return globalThis.SharedArrayBuffer?.prototype;
  }
}

/** @param {unknown} value @returns {value is any} in the sense of the language: functions too */
export const isObject = (value) => (typeof value === "object" && value !== null) || typeof value === "function";

/**
 * Each item is converted when its turn comes, and an iterator is not closed where that fails: `for` would do so.
 * @template T
 * @param {any} given
 * @param {any} iterate its method, read once
 * @param {(item: any) => T} convert
 * @param {string} what the items are
 * @returns {T[]}
 */
export function sequenceOf(given, iterate, convert, what) {
  const iterator = isObject(given) && typeof iterate === "function" ? iterate.call(given) : null;
  if (!isObject(iterator)) throw new TypeError(what);
  const { next } = iterator;
  const items = [];
  for (;;) {
    const step = next.call(iterator);
    if (!isObject(step)) throw new TypeError(`${what}: an iterator gives objects`);
    if (step.done) return items;
    items.push(convert(step.value));
  }
}
