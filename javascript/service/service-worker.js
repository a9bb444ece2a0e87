/**
 * A Service Worker that sends what a page loads through the page's tunnel.
 *
 * Served as it is, it does so with the options in its address (page/service-worker.js writes them). Imported by a Service
 * Worker of the site's own, it leaves everything to that one, which calls `mixRequests` while its script is evaluated.
 *
 * @module
 */

import { matcherOf } from "../shared/matcher.js";
import { SPEECH } from "../shared/service.js";
import { carry } from "./carry.js";
import { tunnels } from "./tunnels.js";

/** @typedef {import("../shared/matcher.js").MixMatcher} MixMatcher */

/**
 * @typedef {object} MixRequestsOptions
 * @property {MixMatcher | MixMatcher[]} [match] which URLs of other origins go through the tunnel; all by default
 * @property {"block" | "pass"} [fallback] without a tunnel: "block", the default, waits until the deadline and then fails;
 *   "pass" lets the browser load it in the clear
 * @property {"check" | "open"} [cors] "check", the default: what a server does not allow the page's origin to read it does not
 *   read; "open": everything can be read, as by `mixFetch`
 * @property {"give" | "refuse"} [unreadable] pictures, styles, scripts and media of servers that allow nobody to read them:
 *   "give", the default, shows them, though a script could look into them; "refuse" does not load them
 * @property {string[]} [direct] beginnings of URLs that the tunnel needs to come up, where its files are of another origin
 * @property {number} [deadline] milliseconds that a request waits for a tunnel; default 90000
 * @property {import("../page/fetch.js").MixTimeouts} [timeouts] of the requests in the tunnel
 */

/**
 * What is used of a `FetchEvent`.
 * @typedef {object} MixFetchEvent
 * @property {Request} request
 * @property {string} clientId
 * @property {(response: Response | Promise<Response>) => void} respondWith
 * @property {(work: Promise<unknown>) => void} waitUntil
 */

const scope = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (globalThis));
/** As long as the tunnel itself lets an operation wait. */
const DEADLINE_MS = 90_000;
const CHOICES = /** @type {const} */ ({ fallback: ["block", "pass"], cors: ["check", "open"], unreadable: ["give", "refuse"] });
const OTHERS = ["match", "direct", "deadline", "timeouts"];

/** The site's own script says what is to be done. */
let chosen = false;

/** @param {MixRequestsOptions} options @returns {import("./carry.js").Rules} */
function rulesOf(options) {
  for (const [name, value] of Object.entries(options)) {
    const choices = /** @type {Record<string, readonly string[]>} */ (CHOICES)[name];
    if (!choices && !OTHERS.includes(name)) throw new TypeError(`mixRequests: there is no option ${name}`);
    if (choices && value !== undefined && !choices.includes(/** @type {string} */ (value))) {
      throw new TypeError(`mixRequests: ${name} is one of ${choices.join(", ")}`);
    }
  }
  const { match, fallback, cors, unreadable, direct = [], deadline = DEADLINE_MS, timeouts = {} } = options;
  if (!(typeof deadline === "number" && deadline > 0)) throw new TypeError("mixRequests: deadline is a number of milliseconds");
  if (!Array.isArray(direct) || !direct.every((one) => typeof one === "string" && URL.canParse(one))) {
    throw new TypeError("mixRequests: direct is a list of beginnings of URLs");
  }
  return {
    matches: matcherOf(match, "mixRequests"), pass: fallback === "pass", open: cors === "open", unreadable: unreadable === "refuse",
    direct: direct.map((one) => new URL(one).href), deadline, timeouts: { .../** @type {Record<string, number>} */ (timeouts) },
  };
}

/** @param {import("./carry.js").Rules} rules */
const handler = (rules) => (/** @type {MixFetchEvent} */ event) => {
  const url = new URL(event.request.url);
  if (!/^https?:$/.test(url.protocol) || url.origin === scope.location.origin || event.request.mode === "navigate") return false;
  if (!rules.matches(url)) return false;
  if (rules.direct.some((beginning) => url.href.startsWith(beginning)) || tunnels.isDirect(url.href)) return false;
  event.respondWith(carry(event, rules));
  return true;
};

/**
 * A handler for `fetch` events, to be made while the Service Worker's script is evaluated.
 * @param {MixRequestsOptions} [options]
 * @returns {(event: MixFetchEvent) => boolean} whether it has taken the request: then `respondWith` was called
 */
export function mixRequests(options = {}) {
  chosen = true;
  return handler(rulesOf(options));
}

/** @returns {MixRequestsOptions} what stands in the address of this script */
function ownOptions() {
  const given = new URL(scope.location.href).searchParams;
  /** @type {Record<string, any>} */
  const options = {};
  for (const name of new Set(given.keys())) {
    if (name === "match" || name === "direct") options[name] = given.getAll(name);
    else if (name === "deadline") options[name] = Number(given.get(name));
    else if (name in CHOICES) options[name] = given.get(name);
  }
  return options;
}

/** @type {((event: MixFetchEvent) => boolean) | undefined} */
let own;
if (scope.registration) {
  scope.addEventListener("install", () => {
    if (!chosen) void scope.skipWaiting();
  });
  scope.addEventListener("fetch", (event) => {
    if (!chosen) (own ??= handler(rulesOf(ownOptions())))(event);
  });
  scope.addEventListener("message", (event) => {
    const { data, source, ports } = event;
    if (data?.speech !== SPEECH || !source || !("id" in source)) return;
    if (data.type === "claim") event.waitUntil(scope.clients.claim());
    else tunnels.receive(/** @type {Client} */ (source), data, ports[0]);
  });
}
