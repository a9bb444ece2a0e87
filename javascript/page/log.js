/**
 * What is said of a tunnel, to the program's logger or to the console: its states, what went wrong, with codes. Below "debug"
 * nothing is said that tells who uses it or for what: no host, no URL, no address, no key, and no text of an error, which may
 * have any of these in it.
 *
 * @module
 */

import { optionError } from "./errors.js";

/** @typedef {import("../shared/messages.js").TunnelSnapshot} TunnelSnapshot */
/** @typedef {import("../shared/messages.js").ErrorDetail} ErrorDetail */
/** @typedef {import("../shared/messages.js").WorkerLine} WorkerLine */

/** @typedef {"debug" | "info" | "warn" | "error"} MixLogLevel */

/**
 * @typedef {object} MixLogEntry
 * @property {MixLogLevel} level
 * @property {string} message one line
 * @property {TunnelSnapshot["state"] | null} state where it is about the tunnel's state
 * @property {string | null} step of a set-up
 * @property {string | null} code of an error or a warning (docs/errors.md)
 * @property {string | null} phase
 * @property {string | null} operation that failed: "fetch", "websocket", "tcp", ...
 */

/** A logger as many have it: `console` is one. @typedef {Record<MixLogLevel, (line: string) => unknown>} MixLoggerObject */
/** @typedef {MixLoggerObject | ((entry: MixLogEntry) => unknown)} MixLogger */

const LEVELS = /** @type {const} */ (["debug", "info", "warn", "error"]);
const SILENT = "silent";
const STOPPED = "blocked_request";

/** @param {{code: string, phase: string | null}} error */
const named = ({ code, phase }) => (phase ? `${code} [${phase}]` : code);

export class Log {
  /** @type {(entry: MixLogEntry) => unknown} */ #write;
  /** Place of the lowest level that is said. */ #from;
  /** Nobody asked for anything to be said: whoever sets a tunnel up is told by the promise that it failed. */ #unasked;
  #last = "";
  /** Warnings of this tunnel that were said. @type {Set<string>} */ #warned = new Set();

  /** @param {(entry: MixLogEntry) => unknown} write @param {MixLogLevel | "silent"} level @param {boolean} [unasked] */
  constructor(write, level, unasked = false) {
    this.#write = write;
    this.#unasked = unasked;
    this.#from = level === SILENT ? LEVELS.length : LEVELS.indexOf(level);
  }

  /** Level "debug" is said, so the worker has to tell what it knows. */
  get debug() {
    return this.#from === 0;
  }

  /** @param {MixLogLevel} level @param {string} message @param {Partial<MixLogEntry>} [facts] */
  say(level, message, facts = {}) {
    if (LEVELS.indexOf(level) < this.#from || (this.#unasked && facts.state)) return;
    const nothing = { state: null, step: null, code: null, phase: null, operation: null };
    try {
      const done = this.#write({ level, message, ...nothing, ...facts });
      if (done instanceof Promise) done.catch(() => {});
    } catch {
      // Somebody else's code: a logger that fails is no reason for a tunnel to fail.
    }
  }

  /** The tunnel has changed. @param {TunnelSnapshot} snapshot */
  changed({ state, step, error, warnings }) {
    if (step === "boot") this.#warned.clear();
    for (const warning of warnings) {
      const text = `${named(warning)}: ${warning.message}`;
      if (this.#warned.has(text)) continue;
      this.#warned.add(text);
      this.say("warn", `warning: ${named(warning)}`, { code: warning.code, phase: warning.phase });
      this.say("debug", `warning: ${text}`, { code: warning.code, phase: warning.phase });
    }
    const now = step ? `${state}: ${step}` : state;
    if (now === this.#last) return;
    this.#last = now;
    if (state !== "failed" || !error) {
      this.say("info", `tunnel ${now}`, { state, step });
      return;
    }
    const { code, phase } = error;
    this.say("error", `tunnel failed: ${named(error)}`, { state, code, phase });
    this.say("debug", `tunnel failed: ${named(error)}: ${error.message}`, { state, code, phase });
  }

  /** An operation has failed; whoever asked for it is told. @param {string} operation @param {{code: string, phase: string | null, message: string}} error */
  failed(operation, error) {
    const { code, phase } = error, facts = { operation, code, phase };
    this.say("info", `${operation} failed: ${named(error)}`, facts);
    this.say("debug", `${operation} failed: ${named(error)}: ${error.message}`, facts);
  }

  /** The worker's own words. @param {WorkerLine} line */
  worker({ level, code, text }) {
    if (level !== "debug") this.say(level, code === STOPPED ? `a request was stopped by the leak guard: ${code}` : `the worker failed: ${code}`, { code });
    this.say("debug", `worker: ${text}`, { code });
  }
}

/**
 * @param {{logger?: unknown, logLevel?: unknown, debug?: unknown}} options
 * @returns {Log}
 */
export function logOf({ logger, logLevel, debug }) {
  const given = logger !== undefined && logger !== null;
  if (logLevel !== undefined && logLevel !== null && logLevel !== SILENT && !LEVELS.includes(/** @type {any} */ (logLevel))) {
    throw optionError("logLevel", `expected one of ${LEVELS.join(", ")}, ${SILENT}`);
  }
  // What is no boolean the worker refuses, as it does with every option.
  const level = /** @type {MixLogLevel | "silent" | null | undefined} */ (logLevel) ?? (debug === true ? "debug" : given ? "info" : "warn");
  if (typeof logger === "function") return new Log(/** @type {(entry: MixLogEntry) => unknown} */ (logger), level);
  const lines = /** @type {MixLoggerObject} */ (given ? logger : console);
  const missing = LEVELS.find((name) => typeof lines[name] !== "function");
  if (missing) throw optionError("logger", `expected a function, or an object with the functions ${LEVELS.join(", ")}; ${missing} is none`);
  const unasked = !given && (logLevel ?? null) === null && debug !== true;
  return new Log(({ level: at, message }) => lines[at](`smolmix: ${message}`), level, unasked);
}
