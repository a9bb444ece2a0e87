/**
 * What the browser checks of an answer of its own network and not of one that a Service Worker makes: the Fetch standard's
 * CORS check and preflight (4.9, 4.10), which headers a script sees, Cross-Origin-Resource-Policy, and which types are
 * nothing for a picture or a script (opaque response blocking).
 *
 * @module
 */

import { MixError } from "../page/errors.js";

/** @typedef {(url: string, init: import("../page/fetch.js").MixFetchInit) => Promise<Response>} Ask */

const SIMPLE_METHODS = ["GET", "HEAD", "POST"];
const SIMPLE_TYPES = ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"];
/** CORS-safelisted response-header names. */
const SHOWN = ["cache-control", "content-language", "content-length", "content-type", "expires", "last-modified", "pragma"];
/** No script sees these of a picture or the like; the browser itself goes by them. */
const KEPT = [
  "content-type", "content-length", "content-range", "accept-ranges", "x-content-type-options", "cross-origin-resource-policy",
  "referrer-policy", "last-modified", "etag", "cache-control", "expires", "date", "sourcemap", "content-disposition",
];
const NEVER = ["set-cookie", "set-cookie2"];
/** Of a preflight's answer: the standard's default, and what browsers allow at most. In seconds. */
const LIFE = 5, MOST_LIFE = 7200;
const MOST_KEPT = 256;

/**
 * @param {string} reason
 * @param {string} message
 * @returns {MixError} what the browser would refuse
 */
export const refusal = (reason, message) =>
  new MixError({ name: "CorsError", code: "cors_refused", phase: "service", message, reason });

/** @param {Headers} headers @param {string} name @returns {string[]} in lower case */
const listed = (headers, name) => (headers.get(name) ?? "").split(",").map((item) => item.trim().toLowerCase()).filter(Boolean);

/**
 * @param {Response} response
 * @param {string} origin as it was sent
 * @param {boolean} credentials
 */
export function checkCors({ headers, url }, origin, credentials) {
  const allowed = headers.get("access-control-allow-origin");
  if (allowed === null) throw refusal("allow_origin", `${url}: the server names no Access-Control-Allow-Origin`);
  if (!credentials && allowed === "*") return;
  if (allowed !== origin) throw refusal("allow_origin", `${url}: the server allows ${allowed}, not ${origin}`);
  if (credentials && headers.get("access-control-allow-credentials") !== "true") {
    throw refusal("credentials", `${url}: the server allows no credentials`);
  }
}

/** @param {string} name @param {string} value @returns {boolean} a CORS-safelisted request-header */
function isSimple(name, value) {
  if (value.length > 128) return false;
  const odd = /[\x00-\x08\x0a-\x1f"():<>?@[\\\]{}\x7f]/;
  switch (name) {
    case "accept":
      return !odd.test(value);
    case "accept-language":
    case "content-language":
      return /^[0-9A-Za-z *,\-.;=]*$/.test(value);
    case "content-type":
      return !odd.test(value) && SIMPLE_TYPES.includes(value.split(";")[0].trim().toLowerCase());
    case "range":
      return /^bytes=\d+-\d*$/.test(value);
    default:
      return false;
  }
}

/** @param {[string, string][]} headers that the page has set @returns {string[]} names that need the server's leave */
function unsafeNames(headers) {
  const names = headers.filter(([name, value]) => !isSimple(name, value)).map(([name]) => name);
  const simple = headers.filter(([name]) => !names.includes(name));
  if (simple.reduce((sum, [, value]) => sum + value.length, 0) > 1024) names.push(...simple.map(([name]) => name));
  return [...new Set(names)].sort();
}

/** Leave that servers have given, for as long as they said. */
export class Preflights {
  /** @type {Map<string, {until: number, methods: string[], names: string[]}>} */ #known = new Map();

  /**
   * Ask where the request is none that any page could make by a form.
   * @param {{url: string, method: string, headers: [string, string][], origin: string, credentials: boolean, referer: string}} request
   * @param {Ask} ask
   */
  async check({ url, method, headers, origin, credentials, referer }, ask) {
    const names = unsafeNames(headers);
    if (SIMPLE_METHODS.includes(method) && names.length === 0) return;
    const key = JSON.stringify([url, origin, credentials]);
    const any = (/** @type {string[]} */ list, /** @type {string} */ one) => list.includes(one) || (!credentials && list.includes("*"));
    const missing = (/** @type {string[]} */ methods, /** @type {string[]} */ allowed) => {
      if (!SIMPLE_METHODS.includes(method) && !any(methods, method.toLowerCase())) return { reason: "method", what: method };
      const name = names.find((one) => !(one === "authorization" ? allowed.includes(one) : any(allowed, one)));
      return name === undefined ? null : { reason: "header", what: name };
    };
    const known = this.#known.get(key);
    if (known && known.until > performance.now() && !missing(known.methods, known.names)) return;
    const asked = { "Access-Control-Request-Method": method, ...(names.length ? { "Access-Control-Request-Headers": names.join(",") } : {}) };
    const response = await ask(url, {
      method: "OPTIONS", redirect: "manual", cookies: "omit",
      headers: { Accept: "*/*", Origin: origin, ...(referer ? { Referer: referer } : {}), ...asked },
    });
    void response.body?.cancel().catch(() => {});
    checkCors(response, origin, credentials);
    if (!response.ok) throw refusal("preflight", `${url}: the server answers the preflight with ${response.status}`);
    const methods = listed(response.headers, "access-control-allow-methods");
    const allowed = listed(response.headers, "access-control-allow-headers");
    const refused = missing(methods, allowed);
    if (refused) throw refusal(refused.reason, `${url}: the server does not allow ${refused.what}`);
    const given = response.headers.get("access-control-max-age");
    const life = Math.min(given !== null && /^\d+$/.test(given) ? Number(given) : LIFE, MOST_LIFE);
    this.#known.delete(key);
    this.#known.set(key, { until: performance.now() + life * 1000, methods, names: allowed });
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= MOST_KEPT) break;
      this.#known.delete(oldest);
    }
  }
}

/**
 * @param {Headers} headers
 * @param {(name: string) => boolean} shown
 * @returns {Headers} of a body that is decoded already
 */
function chosen(headers, shown) {
  const coded = headers.has("content-encoding");
  const unfit = coded ? [...NEVER, "content-encoding", "content-length"] : NEVER;
  return new Headers([...headers].filter(([name]) => shown(name) && !unfit.includes(name)));
}

/** @param {Headers} headers @param {boolean} credentials @returns {Headers} those that a script may see */
export function exposed(headers, credentials) {
  const names = listed(headers, "access-control-expose-headers");
  const all = !credentials && names.includes("*");
  return chosen(headers, (name) => all || SHOWN.includes(name) || names.includes(name));
}

/** @param {Headers} headers @returns {Headers} everything that a script may see of its own server */
export const openly = (headers) => chosen(headers, () => true);

/** @param {Headers} headers @returns {Headers} what the browser needs of an answer that no script may read */
export const kept = (headers) => chosen(headers, (name) => KEPT.includes(name));

/** @param {string} host @param {string} other @returns {boolean} of one site, as far as can be told without a list of suffixes */
const sameSite = (host, other) => host === other || host.endsWith(`.${other}`) || other.endsWith(`.${host}`);

/** HTML, JSON and XML. */
const DOCUMENTS = /^(text\/html|application\/json|text\/json|[^;]*\+json|text\/xml|application\/xml|(?!image\/svg\+xml)[^;]*\+xml)$/;
/** What is no picture, sound, style or script, whatever its bytes are. */
const ARCHIVES = /^(application\/(gzip|zip|pdf|x-gzip|x-protobuf|msexcel|msword|vnd\..*|dash\+xml)|text\/(csv|event-stream)|multipart\/.*)$/;

/**
 * An answer that no script may read: may the element have it?
 * @param {Response} response
 * @param {string} destination
 * @param {string} origin of the page
 */
export function checkOpaque({ headers, url }, destination, origin) {
  const policy = headers.get("cross-origin-resource-policy")?.trim();
  const within = policy === "same-site" && sameSite(new URL(url).hostname, new URL(origin).hostname);
  if (policy === "same-origin" || (policy === "same-site" && !within)) {
    throw refusal("resource_policy", `${url}: its Cross-Origin-Resource-Policy is ${policy}`);
  }
  if (destination === "embed" || destination === "object") return;
  const type = (headers.get("content-type") ?? "").split(";")[0].trim().toLowerCase();
  const sure = headers.get("x-content-type-options")?.trim().toLowerCase() === "nosniff";
  if (DOCUMENTS.test(type) || ARCHIVES.test(type) || (sure && type === "text/plain")) {
    throw refusal("type", `${url}: ${type} is nothing for ${destination || "a request without CORS"}`);
  }
  if (destination === "style" && type && type !== "text/css") throw refusal("type", `${url}: ${type} is no style sheet`);
}
