/** Made by buildtools/single.mjs. */

/** The worker's script, with Pyodide's inside. */
export const script: string;
/** What it needs besides, given to it by the page. */
export const parts: import("../../shared/single-parts.js").Parts;
