/**
 * A client id is that of one tunnel at a time in an origin: by a Web Lock, which the browser frees however its holder ends.
 *
 * @module
 */

const PREFIX = "smolmix-web/";

/** @param {() => boolean} takeOver as in `createStorage` */
export function createLock(takeOver) {
  /** @type {(() => void) | null} */
  let letGo = null;

  return {
    /**
     * Hold the place of a client id until `unlock` or the worker's end. Resolves with false when another one holds it.
     * @param {string} clientId @param {number} patience in milliseconds, for a worker that is just ending
     * @returns {Promise<boolean>}
     */
    lock(clientId, patience) {
      return new Promise((resolve, reject) => {
        const held = new Promise((free) => { letGo = () => free(undefined); });
        const name = PREFIX + clientId, granted = () => (resolve(true), held);
        navigator.locks.request(name, { signal: AbortSignal.timeout(patience) }, granted).catch((error) => {
          if (error.name !== "TimeoutError" && error.name !== "AbortError") reject(error);
          else if (takeOver()) navigator.locks.request(name, { steal: true }, granted).catch(reject);
          else resolve(false);
        });
      });
    },

    /** Let go of the place. A lock that is granted later is given back at once. */
    unlock() {
      letGo?.();
      letGo = null;
    },
  };
}
