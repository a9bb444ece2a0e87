/**
 * A tunnel lent to other code of the same site, such as a Pyodide of the page's own: whoever holds the port speaks the
 * messages of messages.js to it, with ids of its own. What concerns the tunnel as a whole (`setup`, `disconnect`, ...)
 * stays with the page. The first message to the borrower is the tunnel's `state`; others follow when it changes.
 *
 * A worker that blocks cannot receive messages. It opens a channel with `shared`, a `SharedArrayBuffer`: then what the
 * channel has to say is written there, one message at a time, and `taken` asks for the next one. In it are three 32-bit
 * numbers (1: a message is there; length of its JSON; length of its bytes, or -1) and then both; texts are UTF-8.
 *
 * @module
 */

import { FOLLOWING, LAST } from "../shared/messages.js";
import { detailOf, mixError } from "./errors.js";

/** @typedef {import("./connection.js").WorkerConnection} WorkerConnection */
/** @typedef {import("../shared/messages.js").WorkerMessage} WorkerMessage */
/** @typedef {import("../shared/messages.js").TunnelSnapshot} TunnelSnapshot */

/** Messages for a channel that is not open yet. */
const MAX_EARLY = 1024;
const HEAD_BYTES = 12;
const FULL = 1;
/** What opens an id; the rest belongs to one that is open. */
const OPENING = ["resolve", "lookup", "fetch", "websocket", "ping", "tcp", "udp", "statistics"];

/** The messages of one channel for a borrower that blocks, written one at a time. */
class Blackboard {
  /** @type {SharedArrayBuffer} */ #buffer;
  /** @type {WorkerMessage[]} */ #waiting = [];
  #free = true;

  /** @param {SharedArrayBuffer} buffer */
  constructor(buffer) {
    this.#buffer = buffer;
  }

  /** @param {any} message */
  write(message) {
    if (!this.#free) {
      this.#waiting.push(message);
      return;
    }
    this.#free = false;
    const { data, ...rest } = message;
    const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
    const json = new TextEncoder().encode(JSON.stringify(typeof data === "string" ? { ...rest, text: true } : rest));
    const size = HEAD_BYTES + json.length + (bytes?.length ?? 0);
    if (size > this.#buffer.byteLength) {
      this.#free = true;
      const error = mixError("message_too_large", `a message of ${size} bytes does not fit`);
      this.write({ type: "error", id: message.id, error: detailOf(error) });
      return;
    }
    const head = new Int32Array(this.#buffer, 0, 3), body = new Uint8Array(this.#buffer, HEAD_BYTES);
    body.set(json);
    if (bytes) body.set(bytes, json.length);
    head[1] = json.length;
    head[2] = bytes ? bytes.length : -1;
    Atomics.store(head, 0, FULL);
    Atomics.notify(head, 0);
  }

  taken() {
    this.#free = true;
    const next = this.#waiting.shift();
    if (next) this.write(next);
  }
}

/**
 * @param {EventTarget & {connected: () => Promise<WorkerConnection>, state: TunnelSnapshot}} tunnel
 * @param {AbortSignal | null} [signal] takes it back
 * @returns {MessagePort} the borrower's end
 */
export function share(tunnel, signal = null) {
  const { port1: port, port2: borrowed } = new MessageChannel();
  /** The borrower's ids that are open. @type {Map<number, {id: number, connection: WorkerConnection | null, early: any[], board: Blackboard | null}>} */
  const channels = new Map();

  /** @param {Event} event */
  const onState = (event) => port.postMessage({ type: "state", snapshot: /** @type {CustomEvent} */ (event).detail });

  /** @param {any} opening */
  async function open({ shared, ...message }) {
    const theirs = message.id;
    /** @type {{id: number, connection: WorkerConnection | null, early: any[], board: Blackboard | null}} */
    const channel = { id: 0, connection: null, early: [], board: shared ? new Blackboard(shared) : null };
    channels.set(theirs, channel);
    /** @param {any} reply */
    const tell = (reply) => {
      // Boards are read until their last message was taken.
      if (LAST.includes(reply.type) && !channel.board) channels.delete(theirs);
      const { data } = reply;
      if (channel.board) channel.board.write({ ...reply, id: theirs });
      else port.postMessage({ ...reply, id: theirs }, data instanceof Uint8Array ? [data.buffer] : []);
    };
    const failed = (/** @type {unknown} */ error) => tell({ type: "error", error: detailOf(error) });
    try {
      const connection = await tunnel.connected();
      if (channels.get(theirs) !== channel) return; // aborted meanwhile
      channel.id = connection.open(message, { message: tell, failed });
      channel.connection = connection;
      for (const follower of channel.early.splice(0)) connection.send({ ...follower, id: channel.id });
    } catch (error) {
      failed(error);
    }
  }

  const end = () => {
    for (const { id: ours, connection } of channels.values()) connection?.abort(ours);
    channels.clear();
    tunnel.removeEventListener("state", onState);
    signal?.removeEventListener("abort", end);
    port.close();
  };

  port.onmessage = ({ data: message }) => {
    const { type, id } = message ?? {};
    if (type === "bye") {
      end();
      return;
    }
    const channel = channels.get(id);
    if (OPENING.includes(type) && Number.isSafeInteger(id) && !channel) void open(message);
    if (!channel) return;
    if (type === "taken") channel.board?.taken();
    if (type === "abort") {
      channels.delete(id);
      channel.connection?.abort(channel.id);
    }
    if (FOLLOWING.includes(type)) {
      if (channel.connection) channel.connection.send({ ...message, id: channel.id });
      else if (channel.early.length < MAX_EARLY) channel.early.push(message);
    }
  };
  // A borrower that is gone without a word, where the browser tells of it.
  port.addEventListener("close", end);
  signal?.addEventListener("abort", end);
  tunnel.addEventListener("state", onState);
  port.postMessage({ type: "state", snapshot: tunnel.state });
  return borrowed;
}
