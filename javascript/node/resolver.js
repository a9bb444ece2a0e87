/**
 * Names through the tunnel in the shape of `dns.promises`.
 *
 * @module
 */

import { isIP } from "node:net";
import { errnoOf } from "./errno.js";
import { tunnelOf } from "./tunnel.js";

/** @typedef {import("../page/tunnel.js").MixTunnel} MixTunnel */
/** @typedef {import("../page/dns.js").MixRecordType} MixRecordType */

/**
 * @typedef {object} LookupOptions
 * @property {0 | 4 | 6 | "IPv4" | "IPv6"} [family] default 0: either
 * @property {boolean} [all] default false: the first address
 */

/** Records as Node.js gives them, by type. @type {Partial<Record<MixRecordType, (record: any) => unknown>>} */
const SHAPES = {
  A: ({ address }) => address,
  AAAA: ({ address }) => address,
  CNAME: ({ target }) => target,
  NS: ({ target }) => target,
  PTR: ({ target }) => target,
  MX: ({ preference, exchange }) => ({ priority: preference, exchange }),
  TXT: ({ strings }) => strings,
  SRV: ({ priority, weight, port, target }) => ({ name: target, port, priority, weight }),
  SOA: ({ mname, rname, serial, refresh, retry, expire, minimum }) => (
    { nsname: mname, hostmaster: rname, serial, refresh, retry, expire, minttl: minimum }
  ),
  CAA: ({ critical, tag, value }) => ({ critical: critical ? 128 : 0, [tag]: value }),
};

/** Its methods take and give what those of `dns.promises` do. */
export class MixResolver {
  /** @type {MixTunnel | undefined} */ #tunnel;
  #control = new AbortController();

  /** @param {{tunnel?: MixTunnel}} [options] `tunnel`: default the shared one */
  constructor({ tunnel } = {}) {
    this.#tunnel = tunnel;
  }

  /** @param {string} name @param {MixRecordType} type @param {{ttl?: boolean}} [options] @returns {Promise<any>} */
  async #ask(name, type, { ttl = false } = {}) {
    const shape = SHAPES[type];
    if (!shape) throw Object.assign(new TypeError(`no records of type ${type} can be asked for`), { code: "EBADQUERY" });
    let answer;
    try {
      answer = await (await tunnelOf(this.#tunnel)).lookup(name, { type, signal: this.#control.signal });
    } catch (error) {
      throw Object.assign(errnoOf(error, `query${type}`), { hostname: name });
    }
    const records = answer.records.filter((record) => record.type === type);
    if (type === "SOA") return shape(records[0]);
    return records.map((record) => (ttl ? { address: shape(record), ttl: record.ttl } : shape(record)));
  }

  /** @param {string} name @param {MixRecordType} [type] default "A" @returns {Promise<any>} */
  resolve(name, type = "A") { return this.#ask(name, type); }

  /**
   * @overload @param {string} name @param {{ttl: true}} options @returns {Promise<{address: string, ttl: number}[]>}
   */
  /**
   * @overload @param {string} name @param {{ttl?: false}} [options] @returns {Promise<string[]>}
   */
  /** @param {string} name @param {{ttl?: boolean}} [options] @returns {Promise<any>} */
  resolve4(name, options) { return this.#ask(name, "A", options); }

  /**
   * @overload @param {string} name @param {{ttl: true}} options @returns {Promise<{address: string, ttl: number}[]>}
   */
  /**
   * @overload @param {string} name @param {{ttl?: false}} [options] @returns {Promise<string[]>}
   */
  /** @param {string} name @param {{ttl?: boolean}} [options] @returns {Promise<any>} */
  resolve6(name, options) { return this.#ask(name, "AAAA", options); }

  /** @param {string} name @returns {Promise<string[]>} */
  resolveCname(name) { return this.#ask(name, "CNAME"); }
  /** @param {string} name @returns {Promise<string[]>} */
  resolveNs(name) { return this.#ask(name, "NS"); }
  /** @param {string} name @returns {Promise<string[]>} */
  resolvePtr(name) { return this.#ask(name, "PTR"); }
  /** @param {string} name @returns {Promise<string[][]>} */
  resolveTxt(name) { return this.#ask(name, "TXT"); }
  /** @param {string} name @returns {Promise<{priority: number, exchange: string}[]>} */
  resolveMx(name) { return this.#ask(name, "MX"); }
  /** @param {string} name @returns {Promise<{name: string, port: number, priority: number, weight: number}[]>} */
  resolveSrv(name) { return this.#ask(name, "SRV"); }
  /** @param {string} name @returns {Promise<Record<string, string | number>[]>} */
  resolveCaa(name) { return this.#ask(name, "CAA"); }
  /** @param {string} name @returns {Promise<{nsname: string, hostmaster: string, serial: number, refresh: number, retry: number, expire: number, minttl: number}>} */
  resolveSoa(name) { return this.#ask(name, "SOA"); }
  /** @param {string} address @returns {Promise<string[]>} */
  reverse(address) { return this.#ask(address, "PTR"); }

  /**
   * Addresses of a name. Nothing of this machine is asked, its hosts file neither.
   * @param {string} name
   * @param {LookupOptions | 0 | 4 | 6} [options]
   * @returns {Promise<any>} `{address, family}`, with `all` a list of them
   */
  async lookup(name, options = {}) {
    const { family = 0, all = false } = typeof options === "number" ? { family: options } : options;
    const wanted = Number(String(family).replace("IPv", ""));
    let addresses;
    try {
      const tunnel = await tunnelOf(this.#tunnel);
      const asked = wanted === 4 || wanted === 6 ? wanted : null;
      addresses = await tunnel.resolve(name, { family: asked, signal: this.#control.signal });
    } catch (error) {
      throw Object.assign(errnoOf(error, "getaddrinfo"), { hostname: name });
    }
    const found = addresses.map((address) => ({ address, family: isIP(address) }));
    return all ? found : found[0];
  }

  /** Everything under way ends with `ECANCELED`. */
  cancel() {
    this.#control.abort(Object.assign(new Error("the question was cancelled"), { code: "ECANCELED" }));
    this.#control = new AbortController();
  }
}
