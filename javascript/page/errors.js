/**
 * The error of the page API: what failed, in a form that programs can act on.
 *
 * @module
 */

/** @typedef {import("../shared/messages.js").ErrorDetail} ErrorDetail */

/** Of the codes that this side makes. */
const RETRYABLE = new Set(["boot_timeout", "close_timeout", "worker_crashed"]);

/**
 * An operation of the tunnel failed: a `TypeError`, as `fetch` rejects with one, also by `name` and `constructor`.
 * `code` is stable (docs/errors.md); `phase` says where (dns, connect, tls, request, ...).
 */
export class MixError extends TypeError {
  /** @param {ErrorDetail} detail */
  constructor(detail) {
    super(detail.message, detail.cause ? { cause: new MixError(detail.cause) } : undefined);
    /** @type {string} */
    this.code = detail.code;
    /** @type {string | null} */
    this.phase = detail.phase ?? null;
    /** @type {string} Class of the error inside the tunnel, for example "TimeoutExpired". */
    this.kind = detail.name;
    /** @type {string | undefined} Name of the option that was refused. */
    this.option = detail.option;
    /** @type {string | null} What `code` leaves open, for example "expired" of "tls_certificate". */
    this.reason = detail.reason ?? null;
    /** @type {number | undefined} From 256 on: what the peer's page gave when it ended the stream. */
    this.resetCode = detail.resetCode;
    /** @type {boolean} The same operation may succeed when it is tried again. */
    this.retryable = detail.retryable ?? RETRYABLE.has(detail.code);
  }
}

// Scripts that were written for `fetch` compare it.
Object.defineProperty(MixError.prototype, "constructor", { value: TypeError });

/**
 * @param {string} code
 * @param {string} message
 * @param {string | null} [phase]
 * @returns {MixError}
 */
export function mixError(code, message, phase = null) {
  return new MixError({ name: "MixError", code, phase, message });
}

/**
 * @param {string} option name of the option
 * @param {string} message what is wrong with it
 * @returns {MixError} in the words of the tunnel's own check
 */
export function optionError(option, message) {
  return new MixError({ name: "OptionError", code: "bad_option", phase: "setup", message: `option ${option}: ${message}`, option });
}

/** As it is told to others. @param {unknown} error @returns {ErrorDetail} */
export function detailOf(error) {
  const { name, kind, code, phase, message, reason, retryable, option, cause } = /** @type {any} */ (error) ?? {};
  return {
    name: kind ?? name ?? "Error", code: code ?? "internal", phase: phase ?? null, message: String(message ?? error),
    reason: reason ?? null, retryable: retryable ?? false, cause: cause?.code ? detailOf(cause) : null,
    ...(option ? { option } : {}),
  };
}
