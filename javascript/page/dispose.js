/**
 * `await using` and `using`: what is closed at the end of a block, where the engine knows that. The first waits until it is
 * closed; the second begins to close it, and whatever comes of that is nobody's any more.
 *
 * @module
 */

/** A class to extend, for those that are closed so: it says that to TypeScript, and has nothing else. */
export const Closable = /** @type {new () => AsyncDisposable & Disposable} */ (/** @type {unknown} */ (class {}));

/** The same for those that are an `EventTarget`. */
export const ClosableTarget = /** @type {new () => EventTarget & AsyncDisposable & Disposable} */ (/** @type {unknown} */ (EventTarget));

/**
 * @template T
 * @param {{prototype: T}} type
 * @param {(thing: T) => unknown} end may give a promise
 */
export function closable({ prototype }, end) {
  /** @this {T} */
  async function wait() {
    await end(this);
  }
  /** @this {T} */
  function begin() {
    wait.call(this).catch(() => {});
  }
  for (const [symbol, value] of /** @type {[symbol | undefined, Function][]} */ ([[Symbol.asyncDispose, wait], [Symbol.dispose, begin]])) {
    if (symbol) Object.defineProperty(prototype, symbol, { value, writable: true, configurable: true });
  }
}
