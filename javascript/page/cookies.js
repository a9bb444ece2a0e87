/**
 * The cookie jar of a tunnel, which lives in its worker: what a page may take out of it, put into it, and forget.
 *
 * @module
 */

/** @typedef {import("./connection.js").WorkerConnection} WorkerConnection */
/** @typedef {import("../shared/messages.js").MixCookie} MixCookie */

/** Of a tunnel that is set up; the jar goes with it. */
export class MixCookies {
  /** @type {() => Promise<WorkerConnection>} */ #connected;

  /** @param {() => Promise<WorkerConnection>} connected */
  constructor(connected) {
    this.#connected = connected;
  }

  /** All cookies, oldest first: what `import` takes, and `JSON.stringify` too. @returns {Promise<Required<MixCookie>[]>} */
  async export() {
    const connection = await this.#connected();
    return /** @type {Promise<Required<MixCookie>[]>} */ (connection.call({ type: "cookies", action: "export" }));
  }

  /**
   * Add cookies, replacing those of the same name, domain and path. `bad_cookie` says which one can be no cookie; then
   * nothing was taken.
   * @param {Iterable<MixCookie>} cookies
   * @returns {Promise<number>} how many were taken: those that have expired are not
   */
  async import(cookies) {
    const list = [...cookies];
    const connection = await this.#connected();
    return /** @type {Promise<number>} */ (connection.call({ type: "cookies", action: "import", cookies: list }));
  }

  /** Forget all cookies. @returns {Promise<void>} */
  async clear() {
    const connection = await this.#connected();
    await connection.call({ type: "cookies", action: "clear" });
  }
}
