/**
 * The worker's side of a shared tunnel: several tabs speak to one bridge.
 *
 * Python knows one page with many ids. Each tab has a range of them, made of its number and the tab's own id, so nothing
 * has to be looked up on the way of a chunk. What a tab began belongs to it and ends with it: by its `bye`, or when the
 * browser lets go of its lock, however it ended.
 *
 * It is here and not in the leader's page, whose main thread may be busy, or stand still in a dialogue.
 *
 * @module
 */

import { FOLLOWING, LAST } from "../shared/messages.js";
import { comparable, difference, tabLock, WIRE } from "../shared/tabs.js";

/** @typedef {import("../shared/tabs.js").Lead} Lead */
/** @typedef {import("../shared/tabs.js").Greeting} Greeting */
/** @typedef {import("../shared/tabs.js").ToTab} ToTab */
/** @typedef {import("../shared/tabs.js").FromTab} FromTab */
/** @typedef {import("../shared/messages.js").WorkerMessage} WorkerMessage */
/** @typedef {import("../shared/messages.js").TunnelSnapshot} TunnelSnapshot */

/** Ids of one tab; the leader's page has those below, for the tunnel as a whole. */
const RANGE = 2 ** 32;
/** What a tab may begin; the tunnel's own life is the leader's page's. */
const OPENING = [
  "resolve", "lookup", "clear-dns-cache", "cookies", "fetch", "websocket", "ping", "tcp", "udp", "messages", "message",
  "reply", "listen", "accept", "stream", "statistics",
];

/** @typedef {{post: (message: any, transfer: Transferable[]) => void, close: () => void}} Link */

/**
 * @typedef {object} Client
 * @property {string} name
 * @property {number} number
 * @property {Link} link
 * @property {boolean} own it is in the leader's page
 * @property {Set<number>} open its ids that are
 * @property {boolean} resting
 * @property {AbortController} gone
 */

export class TabClients {
  /** @type {Lead} */ #lead;
  /** @type {(message: any) => void} */ #take;
  /** @type {(message: object) => void} */ #tellPage;
  /** @type {Map<string, Client>} */ #byName = new Map();
  /** @type {Map<number, Client>} */ #byNumber = new Map();
  #next = 1;
  /** @type {TunnelSnapshot | null} */ #snapshot = null;
  #up = false;
  #resting = false;
  /** Of messages of our own; no page has such ids. */
  #ownId = -1;
  #wire = new BroadcastChannel(WIRE);

  /**
   * @param {Lead} lead
   * @param {(message: any) => void} take hands a message to Python, or keeps it until that runs
   * @param {(message: object) => void} tellPage
   */
  constructor(lead, take, tellPage) {
    this.#lead = lead;
    this.#take = take;
    this.#tellPage = tellPage;
    this.#wire.onmessage = ({ data }) => {
      // Any script of the origin may speak here.
      if (data?.type === "who") this.#announce();
      else if (data?.type === "hello" && data.leader === lead.leader) void this.#greeted(data);
    };
    this.#announce(); // also to those whose greeting came before there was anybody to hear it
  }

  /** The leader before did not answer any more. */
  get takeOver() {
    return this.#lead.takeOver;
  }

  #announce() {
    const { leader, term } = this.#lead;
    this.#wire.postMessage({ type: "lead", leader, term });
  }

  /** The tab that leads is one of them. @param {MessagePort} port */
  attach(port) {
    let name = "";
    port.onmessage = ({ data }) => {
      if (data.type !== "hello") this.#receive(name, data);
      else {
        name = data.client;
        this.#join(data, { post: (message, transfer) => port.postMessage(message, transfer), close: () => port.close() }, true);
      }
    };
  }

  /** @param {Greeting} greeting of another tab */
  async #greeted(greeting) {
    const { client: name, options } = greeting;
    const ours = await comparable(this.#lead.options, name);
    const channel = new BroadcastChannel(greeting.link);
    const differs = difference(options, ours);
    if (differs) {
      channel.postMessage({ type: "refused", error: differs });
      channel.close();
      return;
    }
    channel.onmessage = ({ data }) => this.#receive(name, data);
    this.#join(greeting, { post: (message) => channel.postMessage(message), close: () => channel.close() }, false);
  }

  /** @param {Greeting} greeting @param {Link} link @param {boolean} own */
  #join({ client: name, resting }, link, own) {
    this.#drop(this.#byName.get(name)); // it greets again: what came between is void
    const client = { name, number: this.#next++, link, own, open: new Set(), resting, gone: new AbortController() };
    this.#byName.set(name, client);
    this.#byNumber.set(client.number, client);
    const { signal } = client.gone;
    navigator.locks.request(tabLock(name), { signal }, () => this.#leave(client)).catch(() => {}); // it left by itself
    link.post({ type: "welcome", snapshot: this.#snapshot, up: this.#up }, []);
    this.#count();
    this.#rest();
  }

  /** @param {Client | undefined} client */
  #drop(client) {
    if (!client || this.#byName.get(client.name) !== client) return;
    this.#byName.delete(client.name);
    this.#byNumber.delete(client.number);
    for (const id of client.open) this.#take({ type: "abort", id: client.number * RANGE + id });
    client.gone.abort();
    client.link.close();
  }

  /** @param {Client} client */
  #leave(client) {
    if (this.#byName.get(client.name) !== client) return;
    this.#drop(client);
    this.#count();
    this.#rest();
  }

  #count() {
    const others = [...this.#byName.values()].filter(({ own }) => !own).length;
    this.#tellPage({ type: "tabs", all: this.#byName.size, others });
  }

  /** The tunnel rests while all tabs want it to. @param {number} [id] of a tab that waits for the answer */
  #rest(id = this.#ownId--) {
    const on = this.#byName.size > 0 && [...this.#byName.values()].every(({ resting }) => resting);
    if (on !== this.#resting) {
      this.#resting = on;
      this.#take({ type: "suspend", id, on });
    } else if (id > 0) {
      this.post(/** @type {WorkerMessage} */ ({ type: "result", id, value: null }));
    }
  }

  /** @param {string} name @param {FromTab} message */
  #receive(name, message) {
    const client = this.#byName.get(name);
    if (!client) return;
    const { type } = message;
    if (type === "ping") client.link.post({ type: "pong" }, []);
    else if (type === "bye") this.#leave(client);
    else if (type === "rest") {
      client.resting = message.on;
      this.#rest();
    }
    if (!("id" in message) || !Number.isSafeInteger(message.id) || message.id <= 0 || message.id >= RANGE) return;
    const id = client.number * RANGE + message.id;
    if (type === "suspend") {
      client.resting = message.on;
      this.#rest(id);
    } else if (OPENING.includes(type)) {
      client.open.add(message.id);
      this.#take({ ...message, id });
    } else if (client.open.has(message.id) && (FOLLOWING.includes(type) || type === "abort")) {
      if (type === "abort") client.open.delete(message.id);
      this.#take({ ...message, id });
    }
  }

  /**
   * @param {WorkerMessage} message of Python's
   * @param {Transferable[]} [transfer]
   * @returns {boolean} false: it is for the leader's page, and for that alone or too
   */
  post(message, transfer = []) {
    if (message.type === "state") {
      if (message.snapshot.state === "failed") return false; // whether that is the end of it for all, the page says
      this.#snapshot = message.snapshot;
      this.#up ||= message.snapshot.state === "ready";
      for (const { link } of this.#byName.values()) link.post(message, []);
      return false;
    }
    if (!("id" in message) || (message.id > 0 && message.id < RANGE)) return false;
    const client = this.#byNumber.get(Math.floor(message.id / RANGE));
    if (!client) return true; // the tab is gone, or nobody waits for it
    const id = message.id % RANGE;
    if (LAST.includes(message.type)) client.open.delete(id);
    client.link.post({ ...message, id }, transfer);
    return true;
  }
}
