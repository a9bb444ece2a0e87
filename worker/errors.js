/**
 * The error of the page API: what failed, in a form that programs can act on.
 *
 * @module
 */

/** @typedef {import("./messages.js").ErrorDetail} ErrorDetail */

/** An operation of the tunnel failed. `code` is stable; `phase` says where (dns, connect, tls, request, ...). */
export class MixError extends Error {
  /** @param {ErrorDetail} detail */
  constructor(detail) {
    super(detail.message);
    this.name = "MixError";
    /** @type {string} */
    this.code = detail.code;
    /** @type {string | null} */
    this.phase = detail.phase ?? null;
    /** @type {string} Class of the error inside the tunnel, for example "TimeoutExpired". */
    this.kind = detail.name;
    /** @type {string | undefined} Name of the option that was refused. */
    this.option = detail.option;
  }
}

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
