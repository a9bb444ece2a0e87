/**
 * What relative addresses are relative to: the document, or the worker's own file where there is none.
 *
 * @module
 */

/** @returns {string | undefined} */
export const baseUrl = () => /** @type {any} */ (globalThis).document?.baseURI ?? globalThis.location?.href;
