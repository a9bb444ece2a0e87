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
/** Integers of so many digits are exact in JavaScript. */
const MAX_DIGITS = 15;
const [QUOTE, BACKSLASH, DOT, ZERO, NINE, UPPER_E, LOWER_E] = [0x22, 0x5c, 0x2e, 0x30, 0x39, 0x45, 0x65];
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];

/**
 * @param {Response} response
 * @param {number} maxBytes
 * @param {string} fields JSON: what is read of the answer (`fields_of` in mixnet/directory.py)
 * @returns {Promise<Uint8Array<ArrayBuffer> | null>} its body, as far as it is read; null: it is too large
 */
export async function readBody(response, maxBytes, fields) {
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
  return condense(bytes, JSON.parse(fields));
}

/**
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @param {any} fields
 * @returns {Uint8Array<ArrayBuffer>} JSON with those fields alone, or the bytes as they are
 */
export function condense(bytes, fields) {
  try {
    if (!isPlain(bytes)) return bytes;
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
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
 * Outside of strings: no fractions, exponents or long numbers, and brackets not too deep.
 * @param {Uint8Array} bytes
 * @returns {boolean}
 */
function isPlain(bytes) {
  let depth = 0, digits = 0;
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at];
    if (byte >= ZERO && byte <= NINE) {
      digits += 1;
      if (digits > MAX_DIGITS) return false;
      continue;
    }
    if (byte === DOT || byte === UPPER_E || (byte === LOWER_E && digits > 0)) return false;
    digits = 0;
    if (byte === QUOTE) {
      at = endOfString(bytes, at);
      if (at < 0) return false;
    } else if (byte === OPEN_LIST || byte === OPEN_OBJECT) {
      depth += 1;
      if (depth > MAX_DEPTH) return false;
    } else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) {
      depth -= 1;
    }
  }
  return true;
}

/**
 * @param {Uint8Array} bytes
 * @param {number} at where its first quote is
 * @returns {number} where its last one is; -1: nowhere
 */
function endOfString(bytes, at) {
  for (let end = bytes.indexOf(QUOTE, at + 1); ; end = bytes.indexOf(QUOTE, end + 1)) {
    if (end < 0) return -1;
    let slashes = 0;
    while (bytes[end - 1 - slashes] === BACKSLASH) slashes += 1;
    if (slashes % 2 === 0) return end;
  }
}
