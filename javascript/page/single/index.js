/**
 * Everything in one file: the API of `index.js` and `globals.js`, the worker and its parts (buildtools/single.mjs).
 *
 * @module
 */

export * from "../index.js";
export * from "../globals.js";
