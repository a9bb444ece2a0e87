/**
 * Records of names, asked through the mixnet: what `mixResolve` takes and gives.
 *
 * @module
 */

import { unlessAborted } from "./signals.js";
import { checkIsolation } from "./isolation.js";

/** @typedef {import("./connection.js").WorkerConnection} WorkerConnection */

/** @typedef {"A" | "AAAA" | "CNAME" | "MX" | "TXT" | "NS" | "SOA" | "SRV" | "PTR" | "HTTPS" | "CAA"} MixRecordType */

/**
 * What records of each type have besides `type`, `name` (the owner) and `ttl` (seconds). Names are in lower case and
 * without the final dot; "." is the root.
 * @typedef {object} MixRecordData
 * @property {{address: string}} A
 * @property {{address: string}} AAAA
 * @property {{target: string}} CNAME
 * @property {{preference: number, exchange: string}} MX `exchange` ".": no mail is taken
 * @property {{text: string, strings: string[], base64: string[]}} TXT `text`: the strings joined; `base64`: their bytes
 * @property {{target: string}} NS
 * @property {{mname: string, rname: string, serial: number, refresh: number, retry: number, expire: number, minimum: number}} SOA
 * @property {{priority: number, weight: number, port: number, target: string}} SRV `target` ".": no such service
 * @property {{target: string}} PTR
 * @property {{priority: number, target: string, alpn: string[], noDefaultAlpn: boolean, port: number | null,
 *   ipv4hint: string[], ipv6hint: string[], ech: string | null, mandatory: string[], other: Record<string, string>}} HTTPS
 *   `priority` 0: an alias for `target`; `target` ".": the owner; `ech` and the values of `other` are base64
 * @property {{flags: number, critical: boolean, tag: string, value: string}} CAA
 */

/**
 * @template {MixRecordType} T
 * @typedef {{type: T, name: string, ttl: number} & MixRecordData[T]} MixRecordOf
 */

/** @typedef {{[T in MixRecordType]: MixRecordOf<T>}[MixRecordType]} MixRecord */

/**
 * @template {MixRecordType} [T=MixRecordType]
 * @typedef {object} MixDnsAnswer
 * @property {string} name what was asked for
 * @property {T} type
 * @property {MixRecordOf<T>[]} records at least one, by preference or priority where they have one
 * @property {string} canonicalName where CNAMEs led
 * @property {number} ttl seconds for which the whole may be kept
 * @property {string} server who answered; empty for an address literal
 * @property {boolean} fromCache
 * @property {boolean} authenticated the server says that it checked signatures (DNSSEC)
 */

/**
 * @template {MixRecordType} [T=MixRecordType]
 * @typedef {object} MixResolveOptions
 * @property {T} [type] default "A"
 * @property {AbortSignal | null} [signal]
 * @property {number} [timeout] milliseconds for everything; default: the tunnel's `timeouts.dns`
 * @property {string} [server] asked instead of the tunnel's resolvers, in the forms of `primaryDns`
 * @property {boolean} [fresh] default false: an answer that is cached will do
 * @property {string | null} [isolation] as of `mixFetch`
 */

/**
 * @template {MixRecordType} [T="A"]
 * @param {Promise<WorkerConnection>} connected
 * @param {string} name
 * @param {MixResolveOptions<T>} [options]
 * @returns {Promise<MixDnsAnswer<T>>}
 */
export async function lookupThrough(connected, name, options = {}) {
  const { type = "A", signal = null, timeout = null, server = null, fresh = false, isolation } = options;
  const key = checkIsolation(isolation);
  const connection = await unlessAborted(connected, signal);
  const answer = await connection.call({
    type: "lookup",
    name: String(name),
    rrtype: String(type),
    timeout: timeout === null ? null : Number(timeout),
    server: server === null ? null : String(server),
    fresh: Boolean(fresh),
    isolation: key,
  }, signal);
  return /** @type {MixDnsAnswer<T>} */ (answer);
}
