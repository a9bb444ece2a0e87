/**
 * The page that leads: it starts the worker of the tunnel that tabs share, and ends it when no tab is left. It carries no
 * bytes; the tabs, its own too, speak to the worker (tab-clients.js).
 *
 * It outlives the `MixTunnel` for which it began: a tab that has left goes on leading for the others.
 *
 * @module
 */

import { moved, WIRE } from "../shared/tabs.js";
import { WorkerConnection } from "./connection.js";
import { detailOf, MixError } from "./errors.js";
import { keepsSnapshot } from "./own-storage.js";
import { persisted } from "./tab-election.js";
import { folderOf, startWorker } from "./worker-script.js";

/** @typedef {import("../shared/tabs.js").Lead} Lead */
/** @typedef {import("../shared/tabs.js").Ending} Ending */
/** @typedef {import("../shared/tabs.js").WireMessage} WireMessage */
/** @typedef {import("../shared/messages.js").ErrorDetail} ErrorDetail */
/** @typedef {import("../shared/messages.js").TunnelSnapshot} TunnelSnapshot */

const DISCONNECT_TIMEOUT_MS = 5_000;
/** A failure is to reach the other tabs before the lead does, or they would try once more. */
const BEFORE_LETTING_GO_MS = 250;
/** Before another tab tries: less than a silence that would cost us the lead. */
const BEFORE_TRYING_AGAIN_MS = 3_000;
/** Where a tunnel that has been there is looked for again until it is found, and what is hopeless there. */
const HEALING = ["directory", "gateway", "exit"];
const HOPELESS = ["bandwidth_refused", "gateway_too_old", "exit_version"];

export class Leader {
  /** @type {Lead} */ #lead;
  /** @type {import("./connection.js").Own} */ #own;
  /** @type {Worker | null} */ #worker = null;
  /** @type {WorkerConnection | null} */ #connection = null;
  /** Ends of the own tab's links, until there is a worker. @type {MessagePort[]} */ #ports = [];
  #wire = new BroadcastChannel(WIRE);
  #up = false;
  #closing = false;
  #ended = false;
  #watch = new AbortController();
  /** @type {(ending: Ending) => void} */ #resolveOver = () => {};
  /** Other tabs that use the tunnel. */
  others = 0;
  /** The worker has ended. @type {Promise<Ending>} */
  over = new Promise((resolve) => { this.#resolveOver = resolve; });

  /** @param {Lead} lead @param {import("./connection.js").Own} own */
  constructor(lead, own) {
    this.#lead = lead;
    this.#own = own;
    this.#wire.onmessage = ({ data }) => {
      // Before its script runs, the worker cannot answer.
      if (data?.type === "who" && !this.#up) this.#announce();
    };
    this.#announce();
    this.#watchLife();
    void this.#start();
  }

  /** @param {WireMessage} message */
  #say(message) {
    this.#wire.postMessage(message);
  }

  #announce() {
    const { leader, term } = this.#lead;
    this.#say({ type: "lead", leader, term });
  }

  async #start() {
    const { options } = this.#lead;
    try {
      const made = await startWorker(folderOf(options.assetsUrl), options.integrity);
      if (this.#ended) {
        made.worker.terminate();
        return;
      }
      const worker = this.#worker = made.worker;
      worker.addEventListener("message", ({ data }) => { if (data.type === "tabs") this.#counted(data); });
      const connection = this.#connection = new WorkerConnection(
        worker,
        made.script,
        keepsSnapshot(options),
        this.#own,
        (snapshot) => this.#changed(snapshot),
        // A worker that has had a tunnel, and breaks, is no reason for the other tabs to have none.
        (error) => (this.#up ? this.#end() : this.#failed(detailOf(error))),
      );
      worker.postMessage({ type: "share", lead: this.#lead });
      for (const port of this.#ports.splice(0)) this.#pass(port);
      await Promise.all([connection.booted, connection.call({ type: "setup", options })]);
    } catch (error) {
      this.#failed(detailOf(error));
    }
  }

  /**
   * Tabs that have had a tunnel get one again when that is possible: a gateway, for one, takes a stored identity for as
   * long as it is connected from a tab that stands still to be in use.
   * @param {ErrorDetail} error
   */
  #failed(error) {
    const heals = this.#lead.again && !this.#up && HEALING.includes(error.phase ?? "") && !HOPELESS.includes(error.code);
    if (heals) this.#end({ error: null, why: error }, BEFORE_TRYING_AGAIN_MS);
    else this.#end({ error, why: null }, BEFORE_LETTING_GO_MS);
  }

  /** @param {TunnelSnapshot} snapshot */
  #changed({ state, error }) {
    this.#up ||= state === "ready";
    if (state === "failed") this.#failed(error ?? detailOf(new MixError({ name: "TunnelError", code: "internal", phase: null, message: "the tunnel failed" })));
  }

  /** @returns {MessagePort} a link of this page's own tab */
  link() {
    const { port1, port2 } = new MessageChannel();
    if (this.#worker) this.#pass(port2);
    else this.#ports.push(port2);
    return port1;
  }

  /** @param {MessagePort} port */
  #pass(port) {
    this.#worker?.postMessage({ type: "tab", port }, [port]);
  }

  /** @param {{all: number, others: number}} tabs */
  #counted({ all, others }) {
    this.others = others;
    if (all === 0) void this.#close();
  }

  /** The last tab has left: say goodbye to the exit. */
  async #close() {
    if (this.#closing) return;
    this.#closing = true;
    try {
      if (this.#up) await this.#connection?.call({ type: "disconnect" }, AbortSignal.timeout(DISCONNECT_TIMEOUT_MS));
    } catch {
      // The worker is ended below in any case.
    }
    this.#end();
  }

  /** The lead is another tab's already, or is to be: the tunnel goes at once, without a goodbye. */
  depose() {
    this.#end();
  }

  /**
   * A page that the browser freezes takes its workers along, so while it still can it leaves the tunnel to other tabs.
   * Alone it only rests, as every tunnel does.
   */
  #watchLife() {
    const { signal } = this.#watch;
    const freeze = () => { if (this.others > 0) this.depose(); };
    globalThis.document?.addEventListener("freeze", freeze, { signal });
    globalThis.addEventListener?.("pagehide", (event) => { if (persisted(event)) freeze(); }, { signal });
  }

  /** @param {Ending} [ending] @param {number} [wait] milliseconds that we keep the lead */
  #end(ending = { error: null, why: null }, wait = 0) {
    if (this.#ended) return;
    this.#ended = true;
    this.#watch.abort();
    for (const port of this.#ports.splice(0)) port.close();
    this.#connection?.stop(new MixError(ending.error ?? moved()));
    this.#say({ type: "over", leader: this.#lead.leader, ...ending });
    const letGo = () => {
      this.#wire.close();
      this.#resolveOver(ending);
    };
    if (wait) setTimeout(letGo, wait);
    else letGo();
  }
}
