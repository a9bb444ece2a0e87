/**
 * The app's own files under a scheme of its own, as a web server would give them: with their types (a browser refuses modules
 * without) and the policy of the page. Nothing here is Electron's: it takes a `Request` and gives a `Response`.
 */

import { readFile } from "node:fs/promises";
import { extname, join, normalize, sep } from "node:path";

/** @type {Record<string, string>} */
const TYPES = {
  ".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".mjs": "text/javascript",
  ".json": "application/json", ".wasm": "application/wasm",
};

/**
 * @param {Record<string, string>} places folder or file by the beginning of the path; the longest that fits counts
 * @param {string} policy the Content-Security-Policy
 * @returns {(request: Request) => Promise<Response>}
 */
export function ownFiles(places, policy) {
  const beginnings = Object.keys(places).sort((a, b) => b.length - a.length);
  return async ({ url, method }) => {
    const path = decodeURIComponent(new URL(url).pathname);
    const beginning = beginnings.find((one) => (one.endsWith("/") ? path.startsWith(one) : path === one));
    if (method !== "GET" || beginning === undefined) return new Response(null, { status: 404 });
    const file = beginning.endsWith("/") ? normalize(join(places[beginning], path.slice(beginning.length))) : places[beginning];
    // Nothing above the folder, however the path is written.
    if (beginning.endsWith("/") && !file.startsWith(normalize(places[beginning] + sep))) return new Response(null, { status: 404 });
    try {
      return new Response(await readFile(file), {
        headers: {
          "Content-Type": TYPES[extname(file)] ?? "application/octet-stream",
          "Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff",
        },
      });
    } catch {
      return new Response(null, { status: 404 });
    }
  };
}
