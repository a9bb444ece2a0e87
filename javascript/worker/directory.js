/**
 * The directory asked ahead of Python: the requests of a set-up begin with the page's options, while the interpreter is
 * still on its way, and Python takes the answers from here.
 *
 * They are those that Python would make, each of them once, and none that it would not: where the options leave any doubt
 * of that, nothing is asked here, and Python, who knows what options mean, asks itself. Requests of a later time are all
 * its own.
 *
 * @module
 */

import { condense, readBody } from "./answer.js";
import { MAINNET_DIRECTORY } from "../shared/service.js";

/** As in directory_loader.py. */
const MAX_ANSWER = 32 << 20;

/** What a set-up asks for and what is read of it: `for_start` in mixnet/directory_query.py, `fields_of` in directory.py. */
const EXIT_FIELDS = {
  host_information: { keys: { ed25519: true } },
  build_information: { build_version: true },
  ip_packet_router: { address: true },
};
const NODE_FIELDS = {
  node_id: true, ed25519_identity_pubkey: true, x25519_sphinx_pubkey: true, ip_addresses: true, mix_port: true, role: true,
  epoch_role: true, supported_roles: true, entry: true, performance: true,
};
const SKIMMED = { metadata: true, nodes: { pagination: { total: true }, data: [NODE_FIELDS] } };
/** @type {[string, any][]} */
const TOPOLOGY = [
  ["v1/nym-nodes/rewarded-set", true],
  ["v1/epoch/key-rotation-info", true],
  ["v2/unstable/nym-nodes/skimmed/mixnodes/active?page=0", SKIMMED],
  ["v2/unstable/nym-nodes/skimmed/entry-gateways?page=0", SKIMMED],
];
/** @type {[string, any]} */
const EXITS = [
  "v2/nym-nodes/described?page=0", { pagination: { total: true }, data: [{ node_id: true, description: EXIT_FIELDS }] },
];

/** Every option there is, with the types that it can have. */
const OPTIONS = {
  clientId: ["string"], preferredIpr: ["string"], preferredGateway: ["string"], forceTls: ["boolean"],
  disablePoissonTraffic: ["boolean"], disableCoverTraffic: ["boolean"], trafficPreset: ["string"],
  trafficRate: ["string"], fingerprint: ["string"], assetsUrl: ["string"], integrity: ["string"],
  openReplySurbs: ["number"], dataReplySurbs: ["number"], primaryDns: ["string"], fallbackDns: ["string"],
  storagePassphrase: ["string"], connectTimeoutMs: ["number"], dnsTimeoutMs: ["number"], tcpKeepaliveMs: ["number"],
  tcpBufferSize: ["number"], tcpSegments: ["string"], maxRedirects: ["number"], debug: ["boolean"],
  directoryUrls: ["object"], exit: ["string"], topology: ["object", "string"], caCertificates: ["object", "string"],
  defaultRoots: ["boolean"], timeouts: ["object"], maxDecodedBytes: ["number"], crypto: ["string"], snapshot: ["string"],
  shared: ["boolean"], storage: ["boolean"], isolation: ["string"],
};

/**
 * @typedef {object} Answer
 * @property {number} status
 * @property {string} type the Content-Type
 * @property {Uint8Array<ArrayBuffer> | null} body null: it is too large
 */

/**
 * @typedef {object} Plan
 * @property {string[]} directories all base addresses
 * @property {{url: string, fields: any}[]} requests to the first of them, in their order
 */

/**
 * @param {unknown} options as the page gave them
 * @returns {Plan | null} null: that is not for us to say
 */
export function planOf(options) {
  if (typeof options !== "object" || options === null) return null;
  const given = Object.entries(options).filter(([, value]) => value !== null && value !== undefined);
  const table = /** @type {Record<string, string[]>} */ (OPTIONS);
  if (!given.every(([name, value]) => Object.hasOwn(table, name) && table[name].includes(typeof value))) return null;
  const { topology, exit = "auto", directoryUrls = MAINNET_DIRECTORY } = /** @type {Record<string, any>} */ (Object.fromEntries(given));
  if (topology !== undefined || !["auto", "none"].includes(exit)) return null;
  if (!Array.isArray(directoryUrls) || directoryUrls.length === 0) return null;
  const directories = directoryUrls.map(baseOf);
  if (!directories.every((base) => base !== null)) return null;
  const resources = exit === "none" ? TOPOLOGY : [...TOPOLOGY, EXITS];
  return { directories, requests: resources.map(([path, fields]) => ({ url: directories[0] + path, fields })) };
}

/**
 * @param {unknown} text
 * @returns {string | null} the address of a folder, where the text is one in the very form that all sides give it
 */
function baseOf(text) {
  if (typeof text !== "string") return null;
  let url;
  try {
    url = new URL(text);
  } catch {
    return null;
  }
  const { href, protocol, origin, pathname } = url;
  const base = text.endsWith("/") ? text : `${text}/`;
  const plain = /^https?:$/.test(protocol) && href === origin + pathname && /^[\w./-]*$/.test(pathname);
  return plain && [text, base].includes(href) && !base.endsWith("//") ? base : null;
}

/** @param {{setDirectories: (urls: string[]) => void, fetchDirectory: (url: string, signal: AbortSignal) => Promise<Response>}} guard */
export function createDirectory(guard) {
  /** @type {Map<string, {abort: AbortController, fields: string, raw: Promise<Answer>, small: Promise<Answer>}>} */
  const ahead = new Map();

  /** @param {string} url @param {number} maxBytes @param {AbortSignal} signal @returns {Promise<Answer>} */
  async function get(url, maxBytes, signal) {
    const response = await guard.fetchDirectory(url, signal);
    const body = await readBody(response, maxBytes);
    return { status: response.status, type: response.headers.get("content-type") ?? "", body };
  }

  return {
    /**
     * Ask what a set-up with these options asks, where that is sure.
     * @param {unknown} options
     */
    begin(options) {
      const plan = planOf(options);
      if (!plan) return;
      guard.setDirectories(plan.directories);
      for (const { url, fields } of plan.requests) {
        const abort = new AbortController();
        const raw = get(url, MAX_ANSWER, abort.signal);
        const small = raw.then((answer) => condensed(answer, fields));
        small.catch(() => {}); // told to whoever takes it
        ahead.set(url, { abort, fields: JSON.stringify(fields), raw, small });
      }
    },

    /**
     * The answer of the directory to a GET, asked ahead or now.
     * @param {string} url
     * @param {number} maxBytes that its body may have
     * @param {string} fields JSON: what is read of it (`fields_of` in mixnet/directory.py)
     * @param {AbortSignal} signal
     * @returns {Promise<Answer>}
     */
    async ask(url, maxBytes, fields, signal) {
      const known = ahead.get(url);
      if (!known) {
        // The set-up is past its first round: what it has not taken would be old when it is asked for.
        for (const { abort } of ahead.values()) abort.abort();
        ahead.clear();
        return condensed(await get(url, maxBytes, signal), JSON.parse(fields));
      }
      ahead.delete(url);
      signal.addEventListener("abort", () => known.abort.abort(signal.reason));
      if (fields === known.fields && maxBytes === MAX_ANSWER) return known.small;
      const answer = await known.raw;
      const tooLarge = answer.body !== null && answer.body.length > maxBytes;
      return condensed(tooLarge ? { ...answer, body: null } : answer, JSON.parse(fields));
    },
  };
}

/** @param {Answer} answer @param {any} fields @returns {Answer} */
const condensed = (answer, fields) => ({ ...answer, body: answer.body && condense(answer.body, fields) });
