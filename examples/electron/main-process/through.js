/**
 * One request of a window, through the tunnel: what `protocol.handle` gives, and what it takes. Nothing here is Electron's.
 *
 * Redirects go back to the window, which then asks for the target: its page knows where it is.
 */

import { mixFetch } from "smolmix-web";

/** They tell which browser it is, or are the tunnel's; its own are everybody's. */
const NOT_OURS = /^(accept-encoding|accept-language|connection|content-length|cookie|dnt|host|user-agent|sec-.*|proxy-.*)$/;
/** The body is decoded already; cookies stay out of the window. */
const NOT_THEIRS = ["content-encoding", "content-length", "transfer-encoding", "set-cookie"];
const EMPTY = [204, 205, 304];

/**
 * @param {Request} request
 * @returns {Promise<Response>}
 */
export async function throughTunnel(request) {
  const { url, method, body, signal } = request;
  const headers = [...request.headers].filter(([name]) => !NOT_OURS.test(name));
  const response = await mixFetch(url, { method, headers, body, duplex: "half", redirect: "manual", cookies: "omit", signal });
  const { status } = response;
  const coded = response.headers.has("content-encoding");
  const theirs = [...response.headers].filter(([name]) => !NOT_THEIRS.includes(name) || (name === "content-length" && !coded));
  return new Response(EMPTY.includes(status) ? null : response.body, {
    status: status >= 200 && status <= 599 ? status : 599, headers: theirs,
  });
}
