/**
 * The worker's own parts: below the folder `pyodide/` beside it, or where the page says that has checked this script
 * (integrity.js). Builds put their own module in this one's place
 * (buildtools/javascript.py).
 *
 * @module
 */

import { filesBelow } from "./distribution.js";

/** @type {{base: string, hashes: Record<string, string>} | undefined} */
const told = /** @type {any} */ (globalThis).smolmixFiles;

export const distribution = told ? filesBelow(told.base, told.hashes) : filesBelow(new URL("./pyodide/", import.meta.url).href);
