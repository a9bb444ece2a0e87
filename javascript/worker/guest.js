/**
 * What the tunnel needs of JavaScript in a Pyodide that somebody else has started: one module without imports, which
 * travels inside the Python wheel (smolmix_web/pyodide/parts.py loads it). In our own worker each of these is registered
 * by worker.js.
 *
 * The ways out are taken when this module is loaded, so that the tunnel keeps them whatever is replaced later.
 *
 * @module
 */

import { createCrypto } from "./crypto/index.js";
import { createDirectory } from "./directory.js";
import { giveErrorsStacks } from "./error-stacks.js";
import { createDoors, createGuard, shutForAWhile } from "./guard.js";
import { createAlarm, listen } from "./host.js";
import { createStorage } from "./storage.js";

const scope = globalThis;
const natives = { fetch: scope.fetch.bind(scope), WebSocket: scope.WebSocket };

giveErrorsStacks();

/** @type {ReturnType<typeof createGuard> | null} */
let guard = null;

export { createAlarm, createCrypto, createStorage, listen };

/** The two ways out, for one tunnel, and how it asks the directory through the first. */
export function openDoors() {
  const doors = createDoors(natives);
  return { ...doors, ask: createDirectory(doors).ask };
}

/** Shut every other way out of this page or worker, for good. Idempotent. */
export function shutForGood() {
  guard ??= createGuard(scope, []);
}

/** The same until the function that is returned is called. @returns {() => void} */
export const shut = () => shutForAWhile(scope);

/** How many requests the guard has stopped. @returns {number} */
export const stopped = () => guard?.stopped() ?? 0;
