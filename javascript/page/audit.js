/**
 * What on this page went past the tunnel, or could: requests that the browser has noted and the Service Worker has not, what
 * the document asks for that no Service Worker sees, and doors that stand open to scripts.
 *
 * It can tell of what shows, not that there is nothing: which headers the page has, no script can read.
 *
 * @module
 */

import { baseUrl } from "./base-url.js";
import { currentService } from "./service-worker.js";

/**
 * @typedef {"uncontrolled" | "request" | "hint" | "speculation" | "frame" | "plugin" | "form" | "download" | "ping" | "refresh"
 *   | "policy" | "websocket" | "webrtc" | "webtransport" | "synchronous"} MixLeakKind
 */

/** @typedef {{kind: MixLeakKind, url: string | null, happened: boolean, remedy: string}} MixLeak `happened`: not only possible */

/** `refused`: what a policy has kept from leaking. @typedef {{controlled: boolean, leaks: MixLeak[], refused: {url: string, directive: string}[]}} MixAudit */

const MOST_NOTED = 10_000;
const HINTS = ["dns-prefetch", "preconnect", "prerender"];

let closed = false;
/** @type {Set<string>} */
const requested = new Set();
/** @type {Map<string, {url: string, directive: string, enforced: boolean}>} */
const violations = new Map();

// From the beginning: the browser keeps only so many.
if (typeof PerformanceObserver === "function" && globalThis.document) {
  new PerformanceObserver((list) => {
    for (const { name } of list.getEntries()) if (requested.size < MOST_NOTED) requested.add(name);
  }).observe({ type: "resource", buffered: true });
}
/** @param {string} url @param {string} directive @param {string} disposition */
function note(url, directive, disposition) {
  if (violations.size < MOST_NOTED) violations.set(`${directive} ${url}`, { url, directive, enforced: disposition === "enforce" });
}
globalThis.document?.addEventListener("securitypolicyviolation", ({ blockedURI, effectiveDirective, disposition }) => {
  note(blockedURI, effectiveDirective, disposition);
});
// Where there is one, it tells of those before this script as well.
if (typeof ReportingObserver === "function" && globalThis.document) {
  new ReportingObserver((reports) => {
    for (const { body } of /** @type {any[]} */ (reports)) note(body.blockedURL, body.effectiveDirective, body.disposition);
  }, { types: ["csp-violation"], buffered: true }).observe();
}

/** @param {string | null} address @returns {string | null} where it is of another origin, and in the network */
function elsewhere(address) {
  if (!address || !URL.canParse(address, baseUrl())) return null;
  const url = new URL(address, baseUrl());
  return /^(https?|wss?|ftp):$/.test(url.protocol) && url.origin !== globalThis.origin ? url.href : null;
}

/** What of the document no Service Worker sees. @returns {MixLeak[]} */
function ofDocument() {
  /** @type {MixLeak[]} */
  const leaks = [];
  /** @param {string} selector @param {string} attribute @param {MixLeakKind} kind @param {string} remedy @param {boolean} [happened] */
  const look = (selector, attribute, kind, remedy, happened = false) => {
    for (const element of document.querySelectorAll(selector)) {
      const url = elsewhere(element.getAttribute(attribute));
      if (url) leaks.push({ kind, url, happened, remedy });
    }
  };
  for (const hint of HINTS) look(`link[rel~="${hint}" i]`, "href", "hint", `no <link rel="${hint}">`, true);
  look("iframe[src], frame[src]", "src", "frame", "Content-Security-Policy: frame-src 'none'", true);
  for (const frame of document.querySelectorAll("iframe[sandbox]:not([sandbox~='allow-same-origin' i])")) {
    if (!elsewhere(frame.getAttribute("src"))) leaks.push({ kind: "frame", url: null, happened: false, remedy: "a sandboxed frame has no Service Worker: allow-same-origin, or no frame" });
  }
  look("object[data]", "data", "plugin", "Content-Security-Policy: object-src 'none'", true);
  look("embed[src]", "src", "plugin", "Content-Security-Policy: object-src 'none'", true);
  look("form[action]", "action", "form", "Content-Security-Policy: form-action 'self'");
  look("button[formaction], input[formaction]", "formaction", "form", "Content-Security-Policy: form-action 'self'");
  look("a[download], area[download]", "href", "download", "load it with fetch and offer the blob: URL");
  for (const link of document.querySelectorAll("a[ping], area[ping]")) {
    for (const address of (link.getAttribute("ping") ?? "").split(/\s+/)) {
      const url = elsewhere(address);
      if (url) leaks.push({ kind: "ping", url, happened: false, remedy: "no ping attribute" });
    }
  }
  for (const meta of document.querySelectorAll("meta[http-equiv='refresh' i]")) {
    const url = elsewhere(/url\s*=\s*['"]?([^'"]+)/i.exec(meta.getAttribute("content") ?? "")?.[1] ?? null);
    if (url) leaks.push({ kind: "refresh", url, happened: false, remedy: "no <meta http-equiv=refresh>" });
  }
  if (document.querySelector("script[type='speculationrules' i]")) {
    leaks.push({ kind: "speculation", url: null, happened: false, remedy: "Content-Security-Policy: script-src without 'inline-speculation-rules' and 'unsafe-inline'" });
  }
  return leaks;
}

/** Doors that any script of the page may take. @returns {MixLeak[]} */
function ofScripts() {
  /** @type {MixLeak[]} */
  const leaks = [];
  const scope = /** @type {any} */ (globalThis);
  const native = (/** @type {unknown} */ value) => typeof value === "function" && /\[native code\]\s*}$/.test(Function.prototype.toString.call(value));
  if (native(scope.WebSocket)) leaks.push({ kind: "websocket", url: null, happened: false, remedy: "install() of globals.js" });
  if (native(scope.XMLHttpRequest) && native(scope.XMLHttpRequest.prototype.open)) {
    leaks.push({ kind: "synchronous", url: null, happened: false, remedy: "closeSideDoors(), or install() of globals.js" });
  }
  const rtc = scope.RTCPeerConnection ?? scope.webkitRTCPeerConnection;
  if (native(rtc)) leaks.push({ kind: "webrtc", url: null, happened: false, remedy: "closeSideDoors()" });
  if (native(scope.WebTransport)) leaks.push({ kind: "webtransport", url: null, happened: false, remedy: "closeSideDoors()" });
  return leaks;
}

/**
 * Take from the scripts of this page what reaches the network and can go through no tunnel: WebRTC, WebTransport, and of
 * XMLHttpRequest what is synchronous. For good; call it before scripts of others are loaded. (A frame of the same origin has
 * its own: `frame-src 'none'`.)
 * @returns {string[]} names of what is gone
 */
export function closeSideDoors() {
  const gone = ["RTCPeerConnection", "webkitRTCPeerConnection", "RTCIceTransport", "WebTransport"].filter((name) => name in globalThis);
  for (const name of gone) {
    Object.defineProperty(globalThis, name, { value: undefined, writable: false, configurable: false, enumerable: false });
  }
  const { prototype } = XMLHttpRequest, { open } = prototype;
  if (!closed) {
    /** @type {any} */ (prototype).open = {
      /** @this {XMLHttpRequest} @param {any[]} given */
      open(...given) {
        if (given.length > 2 && !given[2]) throw new DOMException("nothing is synchronous in a tunnel", "InvalidAccessError");
        return Reflect.apply(open, this, given);
      },
    }.open;
  }
  closed = true;
  return gone;
}

/**
 * What has leaked from this page, or could. Load this module early: the browser tells of what went before, but only so much.
 * @returns {Promise<MixAudit>}
 */
export async function auditPage() {
  await new Promise((resolve) => setTimeout(resolve)); // entries and events that are under way
  const service = currentService();
  await service?.upToDate();
  const controlled = Boolean(navigator.serviceWorker?.controller);
  /** @type {MixLeak[]} */
  const leaks = controlled ? [] : [{ kind: "uncontrolled", url: null, happened: false, remedy: "registerMixServiceWorker()" }];
  const seen = [...violations.values()];
  for (const name of requested) {
    const url = elsewhere(name);
    const refused = seen.some((one) => one.enforced && name.startsWith(one.url));
    if (!url || refused || service?.hasTaken(url)) continue;
    leaks.push({ kind: "request", url, happened: true, remedy: "load it when registerMixServiceWorker() has resolved" });
  }
  for (const { url, directive, enforced } of seen) {
    if (!enforced) leaks.push({ kind: "policy", url, happened: true, remedy: `enforce ${directive}` });
  }
  leaks.push(...ofDocument(), ...ofScripts());
  return { controlled, leaks, refused: seen.filter(({ enforced }) => enforced).map(({ url, directive }) => ({ url, directive })) };
}
