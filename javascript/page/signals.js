/**
 * Waiting that an `AbortSignal` may end: the promise rejects with the signal's reason, and no listener stays behind.
 *
 * @module
 */

/**
 * @template T
 * @param {Promise<T>} promise
 * @param {AbortSignal | null | undefined} signal
 * @param {() => void} [onAbort] called when the signal ends the wait
 * @returns {Promise<T>}
 */
export function unlessAborted(promise, signal, onAbort = () => {}) {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => {
      onAbort();
      reject(signal.reason);
    };
    if (signal.aborted) {
      promise.catch(() => {}); // nobody waits for it any more
      abort();
      return;
    }
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
