/**
 * What a page loads, through the tunnel: its Service Worker, the policies that forbid what that does not see, and a look at
 * what could still leak (docs/whole-pages.md).
 *
 * @module
 */

export { auditPage, closeSideDoors } from "./audit.js";
export { mixPageHeaders } from "./policies.js";
export { MixServiceWorker, registerMixServiceWorker } from "./service-worker.js";

/** @typedef {import("./audit.js").MixLeak} MixLeak */
/** @typedef {import("./audit.js").MixAudit} MixAudit */
/** @typedef {import("./service-worker.js").MixServiceWorkerOptions} MixServiceWorkerOptions */
/** @typedef {import("./service-worker.js").MixServiceState} MixServiceState */
/** @typedef {import("./service-worker.js").MixRequestFailure} MixRequestFailure */
/** @typedef {import("../shared/service.js").MixServiceCounts} MixServiceCounts */
