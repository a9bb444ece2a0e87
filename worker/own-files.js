/**
 * The worker's own parts: below the folder `pyodide/` beside it. Builds put their own module in this one's place
 * (buildtools/javascript.py).
 *
 * @module
 */

import { filesBelow } from "./distribution.js";

export const distribution = filesBelow(new URL("./pyodide/", import.meta.url).href);
