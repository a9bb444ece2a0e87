/**
 * `await using`: what is closed at the end of a block, where the engine knows that.
 *
 * @module
 */

/** A class to extend, for those that are closed so: it says that to TypeScript, and has nothing else. */
export const Closable = /** @type {new () => AsyncDisposable} */ (/** @type {unknown} */ (class {}));

/**
 * @template T
 * @param {{prototype: T}} type
 * @param {(thing: T) => Promise<unknown>} end
 */
export function closable({ prototype }, end) {
  if (!Symbol.asyncDispose) return;
  /** @this {T} */
  async function value() {
    await end(this);
  }
  Object.defineProperty(prototype, Symbol.asyncDispose, { value, writable: true, configurable: true });
}
