/**
 * What the page's code takes from its global, and some of the runtimes do not have: the build puts these in for the names.
 *
 * @module
 */

const scope = /** @type {any} */ (globalThis);

/** @type {typeof globalThis.CloseEvent} */
export const CloseEvent = scope.CloseEvent ?? class extends Event {
  /** @param {string} type @param {CloseEventInit} [init] */
  constructor(type, { code = 0, reason = "", wasClean = false, ...init } = {}) {
    super(type, init);
    this.code = code;
    this.reason = reason;
    this.wasClean = wasClean;
  }
};

/** @type {typeof globalThis.ProgressEvent} */
export const ProgressEvent = scope.ProgressEvent ?? class extends Event {
  /** @param {string} type @param {ProgressEventInit} [init] */
  constructor(type, { lengthComputable = false, loaded = 0, total = 0, ...init } = {}) {
    super(type, init);
    this.lengthComputable = lengthComputable;
    this.loaded = loaded;
    this.total = total;
  }
};

/** An error that nobody can catch, as one in a listener. @type {typeof globalThis.reportError} */
export const reportError = scope.reportError ?? ((error) => queueMicrotask(() => { throw error; }));
