/**
 * What of a page's request goes to the server: the headers that the page has set and those that the Fetch standard adds
 * below a Service Worker (Origin, Referer, Cache-Control, Accept), none that tell which browser it is.
 *
 * @module
 */

/** Of the engine or the machine, or said anew below; the tunnel says what everybody's says. */
const NOT_OURS = /^(accept|accept-encoding|accept-language|user-agent|referer|origin|cookie|host|connection|dnt|te|priority|purpose|upgrade-insecure-requests|save-data|device-memory|dpr|viewport-width|width|rtt|downlink|ect|pragma|cache-control|sec-.*|proxy-.*)$/;
/** The standard's, the same in all engines. @type {Record<string, string>} */
const ACCEPT = {
  image: "image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5", style: "text/css,*/*;q=0.1", json: "application/json,*/*;q=0.5",
};
const MOST_REFERRER = 4096;

/** @param {URL} url @returns {boolean} */
const isTrustworthy = ({ protocol, hostname }) =>
  protocol === "https:" || hostname === "localhost" || hostname.endsWith(".localhost") || /^127\.|^\[::1\]$/.test(hostname);

/**
 * Referrer Policy 8.3, for requests to another origin.
 * @param {Request} request
 * @param {string} client URL of who asks
 * @returns {string} empty: none
 */
export function refererOf(request, client) {
  const said = request.referrer === "about:client" ? client : request.referrer;
  if (!said || !URL.canParse(said)) return "";
  const source = new URL(said);
  if (!/^https?:$/.test(source.protocol)) return "";
  const down = isTrustworthy(source) && !isTrustworthy(new URL(request.url));
  const origin = `${source.origin}/`;
  source.username = source.password = source.hash = "";
  const whole = source.href.length > MOST_REFERRER ? origin : source.href;
  switch (request.referrerPolicy) {
    case "no-referrer":
    case "same-origin":
      return "";
    case "origin":
    case "origin-when-cross-origin":
      return origin;
    case "unsafe-url":
      return whole;
    case "no-referrer-when-downgrade":
      return down ? "" : whole;
    default: // strict-origin-when-cross-origin, strict-origin
      return down ? "" : origin;
  }
}

/** @param {Request} request @returns {[string, string][]} headers that its page has set, names in lower case; Range */
export function headersOfPage(request) {
  // Those of an element are the engine's (WebKitGTK has Icy-MetaData), and would need a server's leave that no browser asks for.
  if (request.destination !== "") return [...request.headers].filter(([name]) => name === "range");
  const set = [...request.headers].filter(([name]) => !NOT_OURS.test(name));
  const accept = request.headers.get("accept");
  return accept === null || accept === "*/*" ? set : [...set, ["accept", accept]];
}

/**
 * @param {Request} request
 * @param {[string, string][]} set by the page
 * @param {string} origin what is sent as such
 * @param {string} referer
 * @returns {[string, string][]}
 */
export function headersOf(request, set, origin, referer) {
  /** @type {[string, string][]} */
  const headers = [...set];
  const { mode, method, cache, destination } = request;
  if (!set.some(([name]) => name === "accept")) headers.push(["Accept", ACCEPT[destination] ?? "*/*"]);
  if (mode === "cors" || !["GET", "HEAD"].includes(method)) headers.push(["Origin", origin]);
  if (referer) headers.push(["Referer", referer]);
  if (cache === "no-store" || cache === "reload") headers.push(["Pragma", "no-cache"], ["Cache-Control", "no-cache"]);
  if (cache === "no-cache") headers.push(["Cache-Control", "max-age=0"]);
  return headers;
}
