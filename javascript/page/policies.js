/**
 * Headers for a page that wants no leak at all: they forbid what its Service Worker does not see.
 *
 * @module
 */

/** Features by which the browser itself asks somebody for something, and requests that Service Workers do not see. */
const FEATURES = [
  "attribution-reporting", "browsing-topics", "geolocation", "identity-credentials-get", "join-ad-interest-group", "payment",
  "private-aggregation", "run-ad-auction", "shared-storage", "sync-xhr",
];

/** @typedef {{content?: string[], connect?: string[]}} MixPolicyOptions */

/**
 * @param {MixPolicyOptions} [options] `content`: origins that the page loads from, through the tunnel; default `https:`.
 *   `connect`: directory and gateways, where they are pinned; default `https: wss:`
 * @returns {Record<"Content-Security-Policy" | "Permissions-Policy" | "X-DNS-Prefetch-Control", string>}
 */
export function mixPageHeaders({ content = ["https:"], connect = ["https:", "wss:"] } = {}) {
  const from = content.join(" ");
  const directives = [
    "default-src 'none'", `script-src 'self' 'wasm-unsafe-eval' ${from}`, "worker-src 'self'", `style-src 'self' ${from}`,
    `img-src 'self' data: blob: ${from}`, `font-src 'self' ${from}`, `media-src 'self' blob: ${from}`,
    `connect-src 'self' blob: ${[...new Set([...content, ...connect])].join(" ")}`, "frame-src 'none'", "object-src 'none'",
    "base-uri 'none'", "form-action 'self'", "webrtc 'block'", "sandbox allow-scripts allow-same-origin allow-forms allow-modals",
  ];
  return {
    "Content-Security-Policy": directives.join("; "),
    "Permissions-Policy": FEATURES.map((name) => `${name}=()`).join(", "),
    "X-DNS-Prefetch-Control": "off",
  };
}
