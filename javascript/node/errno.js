/**
 * Errors of the tunnel in the words that libraries of Node.js look for: `code` is that of the system's own error where there
 * is one, `cause` the tunnel's error itself.
 *
 * @module
 */

import { MixError } from "../page/index.js";

/** @type {Record<string, string>} */
const CODES = {
  dns_not_found: "ENOTFOUND", dns_no_data: "ENODATA", dns_servfail: "ESERVFAIL", dns_timeout: "ETIMEOUT", dns_refused: "EREFUSED",
  dns_unreachable: "ETIMEOUT", dns_malformed: "EBADRESP", bad_name: "EBADNAME", special_name: "ENOTFOUND",
  connect_refused: "ECONNREFUSED", connection_reset: "ECONNRESET", connection_aborted: "ECONNABORTED", connection_closed: "EPIPE",
  host_unreachable: "EHOSTUNREACH", network_unreachable: "ENETUNREACH", port_unreachable: "ECONNREFUSED", policy_denied: "EACCES",
  admin_prohibited: "EACCES", connect_timeout: "ETIMEDOUT", tunnel_timeout: "ETIMEDOUT", close_timeout: "ETIMEDOUT",
  tunnel_down: "ENETDOWN", aborted: "ECANCELED",
};

/**
 * @param {unknown} error
 * @param {string} syscall
 * @returns {Error} any other error as it is
 */
export function errnoOf(error, syscall) {
  if (!(error instanceof MixError)) return error instanceof Error ? error : new Error(String(error));
  const code = CODES[error.code] ?? (error.kind === "TimeoutExpired" ? "ETIMEDOUT" : undefined);
  if (code === undefined) return error;
  return Object.assign(new Error(`${syscall} ${code} ${error.message}`, { cause: error }), { code, syscall });
}
