/**
 * The chat page: two tabs talk and send files to each other over one stream from client to client.
 *
 * `config.json` beside this file says which network to use. `chat.html?name=ada` keeps its address over reloads, a tab
 * for each name; `chat.html#ADDRESS` calls that address at once. `window.chat` holds the outcome for scripts.
 *
 * @module
 */

import { MixTunnel } from "./smolmix/index.js";
import { END, FILE, MAX_CONTENT, PIECE, TEXT, frame, frames } from "./chat-frames.js";

/** @typedef {import("./smolmix/index.js").MixPeerStream} MixPeerStream */
/** @typedef {{name: string, size: number, type: string}} FileHead */

const MAX_FILE = 256 * 1024 * 1024;
const NOTHING_LISTENS = "peer_refused";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** @template {HTMLElement} [T=HTMLElement] @param {string} id @returns {T} */
function element(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return /** @type {T} */ (found);
}

const log = element("log");
const text = /** @type {HTMLInputElement} */ (element("text"));
const file = /** @type {HTMLInputElement} */ (element("file"));
const callForm = /** @type {HTMLFormElement} */ (element("call"));
const sayForm = /** @type {HTMLFormElement} */ (element("say"));
const hangUp = /** @type {HTMLButtonElement} */ (element("hang-up"));

/** @type {{address: string | null, said: string[], files: {name: string, size: number, sha256: string, ms: number}[], error: string | null, talking: boolean, tunnel: MixTunnel | null}} */
const outcome = { address: null, said: [], files: [], error: null, talking: false, tunnel: null };
Object.assign(globalThis, { chat: outcome });

/** @param {"mine" | "theirs" | "note"} kind @param {...(Node | string)} content */
function show(kind, ...content) {
  const item = document.createElement("li");
  item.className = kind;
  item.append(...content);
  const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
  log.append(item);
  if (atEnd) log.scrollTop = log.scrollHeight;
  return item;
}

/** @param {unknown} error */
function explain(error) {
  const code = /** @type {any} */ (error)?.code;
  if (code === NOTHING_LISTENS) return "Nobody takes calls at that address, or somebody else is talking there.";
  return error instanceof Error ? `${error.message}${code ? ` (${code})` : ""}` : String(error);
}

/** @param {BufferSource} bytes */
async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {number} size @param {number} ms */
const amount = (size, ms) => `${size.toLocaleString("en")} bytes in ${(ms / 1000).toFixed(1)} s, ${(size / ms).toFixed(0)} kB/s`;

/** A file under way, as a line of the log. @param {"mine" | "theirs"} kind @param {FileHead} head */
function showTransfer(kind, head) {
  const bar = document.createElement("progress");
  bar.max = head.size || 1;
  bar.value = 0;
  bar.setAttribute("aria-label", head.name);
  return { bar, item: show(kind, head.name, bar) };
}

/** One conversation: a stream that stands, its two directions, and the controls of the page. */
class Talk {
  /** @type {WritableStreamDefaultWriter<ArrayBuffer | ArrayBufferView>} */ #writer;
  /** @type {Promise<void>} */ #sending = Promise.resolve();

  /**
   * @param {MixPeerStream} stream
   * @param {import("./smolmix/index.js").MixPeerStreamOpenInfo} info
   */
  constructor(stream, info) {
    this.stream = stream;
    this.#writer = info.writable.getWriter();
    this.#writer.closed.catch(() => {}); // `closed` of the stream tells it
    void this.#run(info.readable);
  }

  /** @param {ReadableStream<Uint8Array>} readable */
  async #run(readable) {
    this.#enable(true);
    try {
      await this.#receive(readable);
      show("note", "The other side has hung up.");
      await this.hangUp();
    } catch (error) {
      outcome.error = explain(error);
      show("note", `The conversation ended: ${explain(error)}`);
      this.stream.abort(error);
    } finally {
      if (talk === this) talk = null;
      this.#enable(false);
    }
  }

  /** @param {boolean} on */
  #enable(on) {
    outcome.talking = on;
    for (const control of [text, file, hangUp, ...sayForm.querySelectorAll("button")]) control.disabled = !on;
    element("pick").setAttribute("aria-disabled", String(!on));
    /** @type {HTMLButtonElement} */ (callForm.querySelector("button")).disabled = on;
    if (on) text.focus();
  }

  /** @param {ReadableStream<Uint8Array>} readable */
  async #receive(readable) {
    /** @type {{head: FileHead, pieces: Uint8Array<ArrayBuffer>[], size: number, begun: number, bar: HTMLProgressElement, item: HTMLElement} | null} */
    let coming = null;
    for await (const { kind, content } of frames(readable)) {
      if (kind === TEXT) {
        outcome.said.push(decoder.decode(content));
        show("theirs", decoder.decode(content));
      } else if (kind === FILE && !coming) {
        const { name, size, type } = JSON.parse(decoder.decode(content));
        const head = { name: String(name).slice(0, 200), size: Number(size), type: String(type) };
        if (!(head.size >= 0 && head.size <= MAX_FILE)) throw new Error("the file is too large");
        coming = { head, pieces: [], size: 0, begun: performance.now(), ...showTransfer("theirs", head) };
      } else if (kind === PIECE && coming && coming.size + content.length <= coming.head.size) {
        coming.pieces.push(content);
        coming.size += content.length;
        coming.bar.value = coming.size;
      } else if (kind === END && coming && coming.size === coming.head.size) {
        await this.#arrived(coming, decoder.decode(content));
        coming = null;
      } else {
        throw new Error("the other side says something that makes no sense");
      }
    }
  }

  /**
   * @param {{head: FileHead, pieces: Uint8Array<ArrayBuffer>[], size: number, begun: number, bar: HTMLProgressElement, item: HTMLElement}} coming
   * @param {string} expected
   */
  async #arrived({ head, pieces, size, begun, bar, item }, expected) {
    const ms = performance.now() - begun;
    // Of whatever type it says it is, it is offered as a file and never shown as a part of this page.
    const blob = new Blob(pieces, { type: "application/octet-stream" });
    const hash = await sha256(await blob.arrayBuffer());
    if (hash !== expected) throw new Error(`${head.name} has another hash than was sent`);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = head.name;
    link.textContent = head.name;
    const note = document.createElement("small");
    note.textContent = `${amount(size, ms)}\nSHA-256 ${hash.slice(0, 16)}…, as it was sent`;
    item.replaceChildren(link, note);
    bar.remove();
    outcome.files.push({ name: head.name, size, sha256: hash, ms });
  }

  /** One after the other, so that nothing stands within a frame. @param {Uint8Array<ArrayBuffer>} bytes */
  async #send(bytes) {
    this.#sending = this.#sending.then(() => this.#writer.write(bytes));
    await this.#sending;
  }

  /** @param {string} words */
  async say(words) {
    const content = encoder.encode(words).subarray(0, MAX_CONTENT);
    show("mine", words);
    await this.#send(frame(TEXT, content));
  }

  /** @param {File} chosen */
  async sendFile(chosen) {
    if (chosen.size > MAX_FILE) throw new Error("the file is too large");
    const head = { name: chosen.name, size: chosen.size, type: chosen.type };
    const { bar, item } = showTransfer("mine", head);
    const begun = performance.now();
    const bytes = new Uint8Array(await chosen.arrayBuffer());
    await this.#send(frame(FILE, encoder.encode(JSON.stringify(head))));
    for (let at = 0; at < bytes.length; at += MAX_CONTENT / 2) {
      const piece = bytes.subarray(at, at + MAX_CONTENT / 2);
      await this.#send(frame(PIECE, piece));
      bar.value = at + piece.length;
    }
    await this.#send(frame(END, encoder.encode(await sha256(bytes))));
    const note = document.createElement("small");
    note.textContent = `${amount(bytes.length, performance.now() - begun)} into the tunnel`;
    item.append(note);
    bar.remove();
  }

  /** What was said still arrives. */
  async hangUp() {
    await this.#sending.catch(() => {});
    await this.#writer.close().catch(() => {});
    await this.stream.closed;
  }
}

/** @type {Talk | null} */
let talk = null;

/** @param {MixPeerStream} stream @param {string} words */
async function begin(stream, words) {
  const info = await stream.opened;
  if (talk) {
    stream.abort(new Error("busy"), { code: 300, text: "busy" });
    return;
  }
  show("note", words);
  talk = new Talk(stream, info);
}

/** @param {MixTunnel} tunnel */
function showState(tunnel) {
  const badge = /** @type {HTMLOutputElement} */ (element("state"));
  const update = () => {
    const { state, step } = tunnel.state;
    badge.dataset.state = state;
    badge.value = step ? `${state}: ${step}` : state;
    if (tunnel.address === outcome.address) return;
    outcome.address = tunnel.address;
    /** @type {HTMLInputElement} */ (element("address")).value = tunnel.address ?? "";
    /** @type {HTMLButtonElement} */ (element("copy")).disabled = !tunnel.address;
    const link = /** @type {HTMLAnchorElement} */ (element("link"));
    link.hidden = !tunnel.address;
    link.href = `chat.html#${tunnel.address}`;
  };
  tunnel.addEventListener("state", update);
  update();
}

/** @param {unknown} error */
function report(error) {
  outcome.error = explain(error);
  show("note", explain(error));
}

async function main() {
  const { options } = await (await fetch("config.json")).json();
  const wanted = new URLSearchParams(location.search);
  const name = wanted.get("name");
  const unpaced = wanted.get("traffic") === "unpaced" ? { disablePoissonTraffic: true, disableCoverTraffic: true } : {};
  const tunnel = new MixTunnel({ ...options, ...unpaced, ...(name ? { clientId: `chat-${name}` } : {}), exit: "none" });
  outcome.tunnel = tunnel;
  showState(tunnel);
  await tunnel.setup();

  const call = (/** @type {string} */ address) => begin(tunnel.openStream(address.trim()), "You call; they do not learn who you are.");
  callForm.addEventListener("submit", (event) => {
    event.preventDefault();
    call(/** @type {HTMLInputElement} */ (element("peer")).value).catch(report);
  });
  /** @type {HTMLButtonElement} */ (callForm.querySelector("button")).disabled = false;
  const called = location.hash.slice(1);
  if (called) {
    /** @type {HTMLInputElement} */ (element("peer")).value = called;
    call(called).catch(report);
  }
  for await (const stream of tunnel.listen()) begin(stream, "Somebody calls you.").catch(report);
}

sayForm.addEventListener("submit", (event) => {
  event.preventDefault();
  talk?.say(text.value).catch(report);
  text.value = "";
});
file.addEventListener("change", () => {
  const [chosen] = file.files ?? [];
  if (chosen) talk?.sendFile(chosen).catch(report);
  file.value = "";
});
hangUp.addEventListener("click", () => {
  show("note", "You have hung up.");
  talk?.hangUp().catch(report);
});
element("copy").addEventListener("click", () => {
  navigator.clipboard.writeText(outcome.address ?? "").then(() => show("note", "The address is in the clipboard."), report);
});
main().catch(report);
