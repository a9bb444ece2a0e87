/**
 * Answers of the directory, made small before Python sees them: the browser's own JSON parser reads a list of the main
 * network in a few milliseconds, Python in WebAssembly takes longer for what nobody looks at in it than for the rest.
 *
 * What is left says to Python exactly what the whole would have said. Where that is not sure (no JSON, numbers that only
 * one of the two knows, too deep) the bytes go on as they came, and Python judges.
 *
 * @module
 */

/** Of mixnet/json_text.py. */
const MAX_DEPTH = 64;
const STRINGS = /"[^"\\]*(?:\\[^][^"\\]*)*"/g;
/** Fractions, exponents, and integers that JavaScript may not know exactly. */
const ODD_NUMBERS = /\.|\d[eE]|\d{16}/;
const NO_BRACKETS = /[^[\]{}]+/g;

/**
 * @param {Response} response
 * @param {number} maxBytes
 * @returns {Promise<Uint8Array<ArrayBuffer> | null>} its body; null: it is too large
 */
export async function readBody(response, maxBytes) {
  const parts = [];
  let size = 0;
  for (const reader = response.body?.getReader(); reader;) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.length;
    if (size > maxBytes) {
      reader.cancel().catch(() => {});
      return null;
    }
    parts.push(value);
  }
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/**
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @param {any} fields what is read of it (`fields_of` in mixnet/directory.py)
 * @returns {Uint8Array<ArrayBuffer>} JSON with those fields alone, or the bytes as they are
 */
export function condense(bytes, fields) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    if (!isPlain(text.replace(STRINGS, ""))) return bytes;
    return new TextEncoder().encode(JSON.stringify(pick(JSON.parse(text), fields)));
  } catch {
    return bytes;
  }
}

/**
 * @param {unknown} value
 * @param {any} fields
 * @returns {unknown}
 */
function pick(value, fields) {
  if (fields === true || typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return Array.isArray(fields) ? value.map((item) => pick(item, fields[0])) : value;
  if (Array.isArray(fields)) return value;
  /** @type {Record<string, unknown>} */
  const picked = {};
  for (const name of Object.keys(fields)) {
    if (Object.hasOwn(value, name)) picked[name] = pick(/** @type {any} */ (value)[name], fields[name]);
  }
  return picked;
}

/**
 * @param {string} text JSON without its strings
 * @returns {boolean} both parsers take its numbers for the same, and it is not too deep
 */
function isPlain(text) {
  if (ODD_NUMBERS.test(text)) return false;
  let depth = 0;
  for (const bracket of text.replace(NO_BRACKETS, "")) {
    depth += bracket === "[" || bracket === "{" ? 1 : -1;
    if (depth > MAX_DEPTH) return false;
  }
  return true;
}
