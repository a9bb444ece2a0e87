/**
 * What a tab has in the place of a worker when tabs share one: it takes and gives the messages of messages.js, wherever
 * the worker is, in this tab or in another.
 *
 * When the tunnel moves to another tab, what was under way ends with `tunnel_moved`, the state is `reconnecting`, and what
 * is begun meanwhile waits here, within bounds, for the new tunnel.
 *
 * @module
 */

import { FOLLOWING, LAST } from "../shared/messages.js";
import { comparable, moved, tabLock } from "../shared/tabs.js";
import { bootError } from "./connection.js";
import { detailOf, mixError, optionError } from "./errors.js";
import { Election } from "./tab-election.js";
import { Leader } from "./tab-leader.js";

/** @typedef {import("../shared/tabs.js").ToTab} ToTab */
/** @typedef {import("../shared/tabs.js").FromTab} FromTab */
/** @typedef {import("../shared/messages.js").PageMessage} PageMessage */
/** @typedef {import("../shared/messages.js").WorkerMessage} WorkerMessage */
/** @typedef {import("../shared/messages.js").TunnelSnapshot} TunnelSnapshot */
/** @typedef {import("../shared/messages.js").ErrorDetail} ErrorDetail */

/** As long as the tunnel itself lets an operation wait for it. */
const WAIT_MS = 90_000;
/** More than a boot and a set-up take together that come to nothing. */
const SETUP_MS = 300_000;
/** Of what waits. */
const MAX_WAITING = 1024;
const MAX_WAITING_BYTES = 16 << 20;
/** Ticks until a greeting without an answer is said again. */
const GREET_AGAIN = 3;
/** Ticks of the election without a sign of the leader; while its worker boots it takes long turns. */
const PATIENCE = 5, PATIENCE_BOOT = 30;

/** @type {TunnelSnapshot} */
const NOTHING = { state: "connecting", step: "boot", error: null, warnings: [], gateway: null, address: null, exit: null, addresses: [], traffic: null };

/** @typedef {BroadcastChannel | MessagePort} Line */

/**
 * To a leader's worker. `asked`: ticks since it is known; `welcomed`: it has answered the greeting; `up`: the tunnel was
 * ready, so operations may begin.
 * @typedef {{leader: string, line: Line | null, asked: number, welcomed: boolean, up: boolean, post: (message: FromTab, transfer?: Transferable[]) => void}} Link
 */

/**
 * An operation that the leader's worker has. `answered`: something came of it; `again`: it had begun with another leader;
 * `pulls`: chunks that are asked for.
 * @typedef {{opening: any, answered: boolean, again: boolean, pulls: number}} Open
 */

/** One that waits for a tunnel. @typedef {{messages: any[], again: boolean, timer: ReturnType<typeof setTimeout>}} Waiting */

/** What may be begun a second time as long as nothing came of it: connections, and questions. */
const REPEATABLE = ["resolve", "lookup", "ping", "tcp", "udp", "websocket", "statistics", "clear-dns-cache"];
const IDEMPOTENT = ["GET", "HEAD", "OPTIONS", "DELETE", "PUT"];

/** @param {Open} one @returns {boolean} */
function repeatable({ opening, answered, again }) {
  // A reader of messages has begun nothing that could be lost with the tunnel.
  if (opening.type === "messages") return true;
  // Once: it may be what broke the worker.
  if (answered || again) return false;
  const { request, data } = opening;
  return opening.type === "fetch"
    ? IDEMPOTENT.includes(request.method) && !request.streaming && data === null
    : REPEATABLE.includes(opening.type);
}

/** @param {Link} link @returns {boolean} its worker is in this page, and hears the first greeting */
const isOwn = ({ line }) => line instanceof MessagePort;

/** @param {any} message @returns {number} bytes, more or less */
const sizeOf = ({ data }) => 100 + (typeof data === "string" ? data.length : data?.byteLength ?? 0);

/** @param {string} code @param {string} message @param {string} phase @param {ErrorDetail | null} cause @returns {ErrorDetail} */
const late = (code, message, phase, cause) => ({ name: "TimeoutExpired", code, phase, message, reason: null, retryable: true, cause });

class TabWorker extends EventTarget {
  /** @type {Record<string, unknown>} */ #options;
  /** @type {import("./connection.js").Own} */ #own;
  #client = crypto.randomUUID();
  /** @type {Election | null} */ #election = null;
  /** @type {Leader | null} */ #leader = null;
  /** @type {Link | null} */ #link = null;
  /** @type {Map<number, Open>} */ #open = new Map();
  /** @type {Map<number, Waiting>} */ #waiting = new Map();
  #waitingBytes = 0;
  #resting = false;
  /** Id of the page's `setup`, until it is answered. */
  #setup = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #late;
  #wasUp = false;
  /** What keeps the tunnel from coming back, as far as it is known. @type {ErrorDetail | null} */ #why = null;
  #ended = false;
  /** Lets go of the lock that says that this tab is here. */
  #letGo = () => {};

  /** @param {Record<string, unknown>} options @param {import("./connection.js").Own} own */
  constructor(options, own) {
    super();
    this.#options = options;
    this.#own = own;
  }

  /** @param {WorkerMessage} message */
  #emit(message) {
    if (!this.#ended) this.dispatchEvent(new MessageEvent("message", { data: message }));
  }

  /** @param {number} id @param {unknown} value */
  #answer(id, value = null) {
    queueMicrotask(() => this.#emit({ type: "result", id, value }));
  }

  /** @param {number} id @param {ErrorDetail} error */
  #refuse(id, error) {
    this.#emit({ type: "error", id, error });
  }

  // -- from the page ------------------------------------------------------------------------------

  /** @param {PageMessage} message @param {Transferable[]} [transfer] */
  postMessage(message, transfer = []) {
    switch (message.type) {
      case "boot": // the leader's affair
        queueMicrotask(() => { this.#emit({ type: "started" }); this.#emit({ type: "booted" }); });
        return;
      case "setup":
        this.#setup = message.id;
        this.#join().catch((error) => this.#fail(detailOf(bootError(`tabs cannot share a tunnel here: ${error}`, "unsupported"))));
        return;
      case "disconnect":
        void this.#leave().then(() => this.#answer(message.id));
        return;
      case "network": // the leader's page notices it by itself
        this.#answer(message.id);
        return;
      case "suspend":
        this.#resting = message.on;
        if (this.#link?.up) break;
        if (this.#link?.welcomed) this.#link.post({ type: "rest", on: message.on }); // else it is said upon the welcome
        this.#answer(message.id);
        return;
      case "abort":
        this.#forget(message.id);
    }
    if (FOLLOWING.includes(message.type) || message.type === "abort") this.#follow(message, transfer);
    else this.#begin(message, transfer);
  }

  /** @param {any} message @param {Transferable[]} transfer */
  #follow(message, transfer) {
    const one = this.#open.get(message.id), waiting = this.#waiting.get(message.id);
    if (one) {
      if (message.type === "pull") one.pulls += 1;
      if (message.type === "abort") this.#open.delete(message.id);
      this.#link?.post(message, transfer);
    } else if (waiting && this.#hasRoom(message)) {
      waiting.messages.push(message);
      this.#waitingBytes += sizeOf(message);
    } else if (waiting) {
      this.#forget(message.id);
      this.#full(message.id);
    }
  }

  /** @param {any} message @param {Transferable[]} transfer @param {boolean} [again] */
  #begin(message, transfer, again = false) {
    if (this.#link?.up) {
      this.#open.set(message.id, { opening: message, answered: false, again, pulls: 0 });
      this.#link.post(message, transfer);
    } else if (this.#waiting.size < MAX_WAITING && this.#hasRoom(message)) {
      this.#wait([message]);
    } else {
      this.#full(message.id);
    }
  }

  /** @param {any} message @returns {boolean} */
  #hasRoom(message) {
    return this.#waitingBytes + sizeOf(message) <= MAX_WAITING_BYTES;
  }

  /** @param {number} id */
  #full(id) {
    const error = detailOf(mixError("too_many_operations", "too much waits for the tunnel already", "tunnel"));
    queueMicrotask(() => this.#refuse(id, error));
  }

  /** @param {any[]} messages of one id, the opening first @param {boolean} [again] */
  #wait(messages, again = false) {
    const { id } = messages[0];
    const timer = setTimeout(() => {
      this.#forget(id);
      const message = `waited ${WAIT_MS / 1000} s for a tunnel that is reconnecting`;
      this.#refuse(id, late("tunnel_timeout", message, "tunnel", this.#why));
    }, WAIT_MS);
    this.#waiting.set(id, { messages, again, timer });
    for (const message of messages) this.#waitingBytes += sizeOf(message);
  }

  /** @param {number} id it waits no longer @returns {any[]} what was to be sent */
  #forget(id) {
    const one = this.#waiting.get(id);
    clearTimeout(one?.timer);
    this.#waiting.delete(id);
    for (const message of one?.messages ?? []) this.#waitingBytes -= sizeOf(message);
    return one?.messages ?? [];
  }

  // -- the leader's worker ------------------------------------------------------------------------

  async #join() {
    // Held before the greeting, or the leader's worker would take it for free.
    await new Promise((granted, denied) => {
      const held = new Promise((free) => { this.#letGo = () => free(undefined); });
      navigator.locks.request(tabLock(this.#client), () => (granted(undefined), held)).catch(denied);
    });
    if (this.#ended) return;
    this.#late = setTimeout(() => {
      this.#fail(late("tab_timeout", `no tab has set up a tunnel within ${SETUP_MS / 1000} s`, "tab", this.#why));
    }, SETUP_MS);
    this.#election = new Election({
      found: (leader) => this.#found(leader),
      over: (leader, ending) => { if (leader === this.#link?.leader) this.#lost(ending.error, ending.why); },
      lead: (term, takeOver) => this.#lead(term, takeOver),
      ask: () => this.#ask(),
      patience: () => (this.#link && !this.#link.up ? PATIENCE_BOOT : PATIENCE),
    });
    this.#election.begin();
  }

  /** @param {number} term @param {boolean} takeOver @returns {Leader} */
  #lead(term, takeOver) {
    const leader = crypto.randomUUID();
    this.#lost(null);
    const reign = this.#leader = new Leader({ leader, term, takeOver, again: this.#wasUp, options: this.#options }, this.#own);
    this.#listen(leader, reign.link());
    this.#greet("", {});
    void reign.over.then(({ error, why }) => {
      if (this.#leader === reign) this.#leader = null;
      if (this.#link?.leader === leader) this.#lost(error, why);
    });
    return reign;
  }

  /** @param {string} leader */
  #found(leader) {
    if (this.#link?.leader !== leader) {
      this.#lost(null);
      this.#link = { leader, line: null, asked: 0, welcomed: false, up: false, post: () => {} };
    }
    // A worker says it when it begins to listen, too: what it was told before is lost.
    if (this.#link && !this.#link.welcomed && !isOwn(this.#link)) void this.#call(leader);
  }

  /**
   * Greet the worker of another tab, on a line that nobody else knows, and another one each time: nothing is said on it
   * before this greeting is answered.
   * @param {string} leader
   */
  async #call(leader) {
    const options = await comparable(this.#options, this.#client);
    const link = this.#link;
    if (link?.leader !== leader || link.welcomed || this.#ended) return;
    link.line?.close();
    const name = crypto.randomUUID();
    this.#listen(leader, new BroadcastChannel(name));
    this.#greet(name, options);
  }

  /** @param {string} leader @param {Line} line */
  #listen(leader, line) {
    const port = line instanceof MessagePort ? line : null;
    const post = (/** @type {FromTab} */ message, /** @type {Transferable[]} */ transfer = []) => {
      if (port) port.postMessage(message, transfer);
      else line.postMessage(message);
    };
    this.#link = { leader, line, asked: this.#link?.asked ?? 0, welcomed: false, up: false, post };
    line.onmessage = ({ data }) => {
      if (this.#link?.line === line) this.#receive(data);
    };
  }

  /** @param {string} name of the line @param {Record<string, string>} options */
  #greet(name, options) {
    const { leader } = /** @type {Link} */ (this.#link);
    /** @type {import("../shared/tabs.js").Greeting} */
    const greeting = { type: "hello", leader, client: this.#client, link: name, resting: this.#resting, options };
    if (name) this.#election?.say(greeting);
    else this.#link?.post(greeting);
  }

  /** A sign of life of the leader is wanted. */
  #ask() {
    const link = this.#link;
    if (!link) this.#election?.ask();
    else if (link.welcomed) link.post({ type: "ping" });
    else if (!isOwn(link) && ++link.asked % GREET_AGAIN === 0) void this.#call(link.leader);
  }

  /** @param {ToTab} message */
  #receive(message) {
    this.#election?.heard();
    switch (message.type) {
      case "pong":
        return;
      case "refused":
        this.#fail(message.error);
        return;
      case "welcome":
        if (this.#link) this.#link.welcomed = true;
        this.#link?.post({ type: "rest", on: this.#resting });
        if (message.snapshot) this.#changed(message.snapshot);
        if (message.up) this.#ready();
        return;
      case "state":
        this.#changed(message.snapshot);
        if (message.snapshot.state === "ready") this.#ready();
        return;
    }
    if (!("id" in message)) return;
    const one = this.#open.get(message.id);
    if (one) one.answered = true;
    if (one && message.type === "chunk") one.pulls -= 1;
    if (LAST.includes(message.type)) this.#open.delete(message.id);
    this.#emit(message);
  }

  /** @param {TunnelSnapshot} snapshot */
  #changed(snapshot) {
    if (snapshot.state === "ready") this.#why = null;
    const again = this.#wasUp && snapshot.state === "connecting";
    this.#emit({ type: "state", snapshot: again ? this.#comesBack(snapshot) : snapshot });
  }

  /** Who has had a tunnel is told that it comes back, and why that takes long. @param {TunnelSnapshot} snapshot @returns {TunnelSnapshot} */
  #comesBack(snapshot) {
    const warnings = this.#why ? [...snapshot.warnings, this.#why] : snapshot.warnings;
    return { ...snapshot, state: "reconnecting", warnings };
  }

  /** Requests may be sent. */
  #ready() {
    if (!this.#link || this.#link.up) return;
    this.#link.up = true;
    this.#wasUp = true;
    if (this.#setup) this.#answer(this.#setup);
    this.#setup = 0;
    clearTimeout(this.#late);
    for (const [id, { again }] of [...this.#waiting]) {
      const [opening, ...others] = this.#forget(id);
      const transfer = (/** @type {any} */ { data }) => (data instanceof Uint8Array ? [data.buffer] : []);
      this.#begin(opening, transfer(opening), again);
      for (const message of others) this.#follow(message, transfer(message));
    }
  }

  /**
   * There is no tunnel any more where one was.
   * @param {ErrorDetail | null} error no tab is to make another
   * @param {ErrorDetail | null} [why] as of an `Ending`
   */
  #lost(error, why = null) {
    const link = this.#link;
    if (!link || this.#ended) return;
    link.line?.close();
    this.#link = null;
    this.#why = why ?? this.#why;
    const ended = [...this.#open];
    this.#open.clear();
    for (const [id, one] of ended) {
      if (!error && repeatable(one)) this.#wait([one.opening, ...Array(one.pulls).fill({ type: "pull", id })], true);
      else this.#refuse(id, error ?? moved());
    }
    if (error) this.#fail(error);
    else if (this.#wasUp) this.#emit({ type: "state", snapshot: this.#comesBack(NOTHING) });
  }

  /** @param {ErrorDetail} error */
  #fail(error) {
    if (this.#setup) this.#refuse(this.#setup, error);
    else this.#emit({ type: "state", snapshot: { ...NOTHING, state: "failed", step: null, error } });
  }

  // -- the end ------------------------------------------------------------------------------------

  /** Resolves when the tunnel is closed, if no other tab uses it. */
  async #leave() {
    const leader = this.#leader;
    this.#quit();
    if (leader?.others === 0) await leader.over;
  }

  #quit() {
    clearTimeout(this.#late);
    this.#election?.end();
    this.#election = null;
    this.#leader = null;
    this.#link?.post({ type: "bye" });
    this.#link?.line?.close();
    this.#link = null;
    this.#open.clear();
    for (const id of [...this.#waiting.keys()]) this.#forget(id);
    this.#letGo();
  }

  terminate() {
    this.#quit();
    this.#ended = true;
  }
}

/**
 * @param {Record<string, unknown>} options of a tunnel
 * @returns {boolean} whether it is one that tabs share
 */
export function isShared({ shared = false }) {
  if (shared === null || typeof shared === "boolean") return shared === true;
  throw optionError("shared", `expected true or false, got ${typeof shared}`);
}

/**
 * In the place of `startWorker`.
 * @param {Record<string, unknown>} options
 * @param {import("./connection.js").Own} own
 * @returns {{worker: Worker, script: () => string}}
 */
export function joinTabs(options, own) {
  if (!globalThis.navigator?.locks || typeof BroadcastChannel !== "function" || !globalThis.crypto?.subtle) {
    throw bootError("tabs cannot share a tunnel here: this is no secure context with Web Locks and BroadcastChannel", "unsupported");
  }
  return { worker: /** @type {any} */ (new TabWorker(options, own)), script: () => "" };
}
