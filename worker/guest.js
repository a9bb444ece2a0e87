/**
 * What the tunnel needs of JavaScript in a Pyodide that somebody else has started: one module without imports, which
 * travels inside the Python wheel (smolmix_web/pyodide/parts.py loads it). In our own worker each of these is registered
 * by worker.js.
 *
 * The ways out are taken when this module is loaded, so that the tunnel keeps them whatever is replaced later.
 *
 * @module
 */

import { readBody } from "./answer.js";
import { createCrypto } from "./crypto/index.js";
import { createDoors, createGuard, shutForAWhile } from "./guard.js";
import { createStorage } from "./storage.js";

const scope = globalThis;
const natives = { fetch: scope.fetch.bind(scope), WebSocket: scope.WebSocket };

/** @type {ReturnType<typeof createGuard> | null} */
let guard = null;

export { createCrypto, createStorage, readBody };

/** The two ways out, for one tunnel. */
export const openDoors = () => createDoors(natives);

/** Shut every other way out of this page or worker, for good. Idempotent. */
export function shutForGood() {
  guard ??= createGuard(scope, null);
}

/** The same until the function that is returned is called. @returns {() => void} */
export const shut = () => shutForAWhile(scope);

/** How many requests the guard has stopped. @returns {number} */
export const stopped = () => guard?.stopped() ?? 0;
