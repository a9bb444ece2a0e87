/** Made by buildtools/single.mjs: Pyodide's list, and its scripts. */

export const lock: import("../distribution.js").Lock;
export const loader: object;
export const script: object;
