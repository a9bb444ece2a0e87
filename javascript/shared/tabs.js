/**
 * What the tabs of one origin say to each other when they share a tunnel, and the names by which they find each other.
 *
 * One tab leads: its worker has the tunnel. Whoever holds the Web Lock `LEAD` is that tab, so the browser itself decides
 * and takes the lead from a tab that is gone. The others use its worker by messages of a `BroadcastChannel`: only that,
 * and no `MessagePort`, gets from tab to tab in every browser. What is said to all goes over the channel `WIRE`; each tab
 * has a channel of its own to the leader's worker besides (its link), so that nobody hears the bytes of others. A link is
 * drawn anew for each leader: one that wakes up after another has taken over hears nothing of what is not for it.
 *
 * On a link go the messages of messages.js, with the tab's own ids, and those below. Nothing is given away on it: a
 * broadcast copies.
 *
 * @module
 */

/** @typedef {import("./messages.js").TunnelSnapshot} TunnelSnapshot */
/** @typedef {import("./messages.js").ErrorDetail} ErrorDetail */
/** @typedef {import("./messages.js").PageMessage} PageMessage */
/** @typedef {import("./messages.js").WorkerMessage} WorkerMessage */

/** Raised when releases could not understand each other: then each has a tunnel of its own. */
const SPEECH = 1;
export const WIRE = `smolmix-web shared ${SPEECH}`;
/** Held by the page that leads, for as long as its worker has the tunnel. */
export const LEAD = `${WIRE} lead`;
/** Held while a tab takes the lead from one that does not answer, so that only one does. */
export const REPLACE = `${WIRE} replace`;
/** Held by each tab while it uses the tunnel: the leader's worker waits for it, and so learns of its end. @param {string} client */
export const tabLock = (client) => `${WIRE} tab ${client}`;

/**
 * What a tab asks for in its greeting: its options by name, as text; the passphrase only as a digest.
 * @typedef {object} Greeting
 * @property {"hello"} type
 * @property {string} leader whom it is for
 * @property {string} client
 * @property {string} link name of the channel; empty on a port
 * @property {boolean} resting the tab wants no tunnel for now
 * @property {Record<string, string>} options
 */

/**
 * A leader's tunnel is no more. With an `error` no tab is to try again by itself; else one does, and `why` is what kept
 * this one from coming up, as far as something did.
 * @typedef {{error: ErrorDetail | null, why: ErrorDetail | null}} Ending
 */

/**
 * Said to all. `lead` answers `who`, and is said by who has just begun to lead.
 * @typedef {{type: "who"} | {type: "lead", leader: string, term: number} | Greeting
 *   | ({type: "over", leader: string} & Ending)} WireMessage
 */

/**
 * Said on a link, besides what messages.js has: `welcome` answers the greeting, with what is known of the tunnel, and
 * `up` once it was ready; `refused` too. `pong` answers `ping`.
 * @typedef {{type: "welcome", snapshot: TunnelSnapshot | null, up: boolean} | {type: "refused", error: ErrorDetail}
 *   | {type: "pong"} | WorkerMessage} ToTab
 */
/** `rest`: as `suspend`, without an answer. @typedef {Greeting | {type: "ping"} | {type: "bye"} | {type: "rest", on: boolean} | PageMessage} FromTab */

/**
 * What the worker of a leader is told, after `boot` and before `setup`.
 * @typedef {object} Lead
 * @property {string} leader drawn anew by each
 * @property {number} term higher than that of every leader before
 * @property {boolean} takeOver the leader before did not answer any more, and may still hold what it held
 * @property {boolean} again the tabs have had a tunnel
 * @property {Record<string, unknown>} options
 */

/** Of the leader's own tab alone: where the files are, and what is seen on the console. */
const OWN_AFFAIR = ["shared", "assetsUrl", "integrity", "snapshot", "debug"];
const PASSPHRASE = "storagePassphrase";
/** A guess costs so much more than a look at a digest. */
const ROUNDS = 200_000;

/** @param {unknown} value @returns {unknown} the same, members in the order of their names */
function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, item]) => [name, sorted(item)]));
}

/** @param {string} secret @param {string} salt @returns {Promise<string>} */
async function digest(secret, salt) {
  const [key, salted] = [secret, salt].map((text) => new TextEncoder().encode(text));
  const imported = await crypto.subtle.importKey("raw", /** @type {BufferSource} */ (key), "PBKDF2", false, ["deriveBits"]);
  const way = { name: "PBKDF2", hash: "SHA-256", salt: /** @type {BufferSource} */ (salted), iterations: ROUNDS };
  return String(new Uint8Array(await crypto.subtle.deriveBits(way, imported, 256)));
}

/**
 * Options as tabs compare them: those that were given, without what is each tab's own affair.
 * @param {Record<string, unknown>} options
 * @param {string} client the digest of the passphrase is good for this tab alone
 * @returns {Promise<Record<string, string>>}
 */
export async function comparable(options, client) {
  /** @type {Record<string, string>} */
  const texts = {};
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || value === null || OWN_AFFAIR.includes(name)) continue;
    texts[name] = name === PASSPHRASE ? await digest(String(value), client) : JSON.stringify(sorted(value)) ?? String(value);
  }
  return texts;
}

/**
 * @param {Record<string, string>} theirs
 * @param {Record<string, string>} ours
 * @returns {ErrorDetail | null} the first option that differs
 */
export function difference(theirs, ours) {
  for (const name of Object.keys({ ...theirs, ...ours }).sort()) {
    if (theirs[name] === ours[name]) continue;
    const message = `option ${name}: other tabs share a tunnel that has ${name in ours ? "another value" : "none"}`;
    return { name: "OptionError", code: "options_differ", phase: "setup", message, option: name, reason: null, retryable: false };
  }
  return null;
}

/** @returns {ErrorDetail} of what was under way in a tunnel that is no more */
export const moved = () => ({
  name: "NetworkError", code: "tunnel_moved", phase: "tab", reason: null, retryable: true, cause: null,
  message: "the tab that had the tunnel is gone, or stands still; another one makes a new tunnel",
});
