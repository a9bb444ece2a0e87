/**
 * Pyodide knows an error by its stack. WebKit's own errors of `fetch`, `import()` and WebAssembly have none, and whoever
 * awaits from Python a promise that rejects with one would wait for ever.
 *
 * @module
 */

/** Every error has one from here on, if an empty one. */
export function giveErrorsStacks() {
  if ("stack" in Error.prototype) return;
  Object.defineProperty(Error.prototype, "stack", { value: "", writable: true, configurable: true });
}
