/**
 * Which URLs are meant, as a page says it: for what it replaces (globals.js) and for its Service Worker.
 *
 * @module
 */

/**
 * The beginning of a URL (an origin as a rule; `https:` stands for `wss:` too), what `href` must match, or a function.
 * @typedef {string | RegExp | ((url: URL) => boolean)} MixMatcher
 */

/** @param {string} href @returns {string} sockets belong to the origin that pages name with `http` */
const asHttp = (href) => href.replace(/^ws(?=s?:)/, "http");

/**
 * @param {unknown} match one matcher or a list; undefined: every URL
 * @param {string} whose who is told what is wrong with it
 * @returns {(url: URL) => boolean}
 */
export function matcherOf(match, whose) {
  if (match === undefined) return () => true;
  if (typeof match === "function") return (url) => Boolean(match(url));
  if (Array.isArray(match)) {
    const each = match.map((one) => matcherOf(one, whose));
    return (url) => each.some((one) => one(url));
  }
  // A pattern that remembers where it stopped would let every other URL past.
  if (match instanceof RegExp) return (url) => new RegExp(match.source, match.flags.replace(/[gy]/g, "")).test(url.href);
  if (typeof match === "string" && URL.canParse(match)) {
    const beginning = asHttp(new URL(match).href); // has the slash that keeps `https://a.example` from `https://a.example.org`
    return (url) => asHttp(url.href).startsWith(beginning);
  }
  throw new TypeError(`${whose}: match is the beginning of a URL, a RegExp, a function, or a list of these`);
}
