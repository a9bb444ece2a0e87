/**
 * The cookie jar of a tunnel, which lives in its worker: what a page may take out of it, put into it, and forget.
 *
 * @module
 */

import { checkIsolation } from "./isolation.js";

/** @typedef {import("./connection.js").WorkerConnection} WorkerConnection */
/** @typedef {import("../shared/messages.js").MixCookie} MixCookie */

/** @typedef {{isolation?: string | null}} MixCookieOptions the key whose jar is meant; default: the tunnel's own */

/** Of a tunnel that is set up; the jars go with it. */
export class MixCookies {
  /** @type {() => Promise<WorkerConnection>} */ #connected;

  /** @param {() => Promise<WorkerConnection>} connected */
  constructor(connected) {
    this.#connected = connected;
  }

  /**
   * All cookies, oldest first: what `import` takes, and `JSON.stringify` too.
   * @param {MixCookieOptions} [options]
   * @returns {Promise<Required<MixCookie>[]>}
   */
  async export(options = {}) {
    const isolation = checkIsolation(options.isolation);
    const connection = await this.#connected();
    return /** @type {Promise<Required<MixCookie>[]>} */ (connection.call({ type: "cookies", action: "export", isolation }));
  }

  /**
   * Add cookies, replacing those of the same name, domain and path. `bad_cookie` says which one can be no cookie; then
   * nothing was taken.
   * @param {Iterable<MixCookie>} cookies
   * @param {MixCookieOptions} [options]
   * @returns {Promise<number>} how many were taken: those that have expired are not
   */
  async import(cookies, options = {}) {
    const list = [...cookies];
    const isolation = checkIsolation(options.isolation);
    const connection = await this.#connected();
    return /** @type {Promise<number>} */ (connection.call({ type: "cookies", action: "import", cookies: list, isolation }));
  }

  /** Forget all cookies of a key. @param {MixCookieOptions} [options] @returns {Promise<void>} */
  async clear(options = {}) {
    const isolation = checkIsolation(options.isolation);
    const connection = await this.#connected();
    await connection.call({ type: "cookies", action: "clear", isolation });
  }
}
