/**
 * The worker's own files: had whole and of the right kind, or an error that names the file and the reason.
 *
 * What a browser says of a file that it does not get is "Failed to fetch", and of one that is a web page instead "Unexpected
 * token '<'". Users see these with a wrong path, a server that answers everything with its start page, or a
 * Content-Security-Policy; so each failure is looked into before it is told.
 *
 * @module
 */

/** Time for events of the Content-Security-Policy, which come after the failure, and for looking into one. */
const VIOLATION_MS = 100;
const LOOK_MS = 1_000;
const MAX_REFUSALS = 64;
const EMPTY_MODULE = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
const WASM = EMPTY_MODULE.subarray(0, 4);

/** What to do about it. */
const ELSEWHERE = " at this address; the option assetsUrl says where the files are";
const FOREIGN = "; files of another origin need Access-Control-Allow-Origin";

/** @typedef {"missing" | "unavailable" | "unreachable" | "blocked" | "wrong_type" | "damaged" | "altered" | "unsupported"} PartReason */

/** A file of the tunnel's code cannot be used. */
export class PartError extends Error {
  /** @param {string} file @param {PartReason} reason @param {string} text */
  constructor(file, reason, text) {
    super(`${file}: ${text}`);
    this.name = "PartError";
    this.reason = reason;
  }
}

/** What the Content-Security-Policy has refused since the start of this code, by address. @type {Map<string, string>} */
const refusals = new Map();
globalThis.addEventListener?.("securitypolicyviolation", (event) => {
  const { disposition, blockedURI, effectiveDirective } = /** @type {SecurityPolicyViolationEvent} */ (event);
  if (disposition === "enforce" && refusals.size < MAX_REFUSALS) refusals.set(blockedURI, effectiveDirective);
});

/** @param {string} url @returns {string} the end of a path, as people know the file */
const nameOf = (url) => (url.startsWith("blob:") ? "worker.js" : new URL(url).pathname.split("/").slice(-2).join("/"));

/** @param {string} url @returns {boolean} */
const isForeign = (url) => /^http/.test(url) && new URL(url).origin !== globalThis.origin;

/** @param {number} milliseconds @returns {Promise<void>} */
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/**
 * @param {string} url
 * @param {string} [name]
 * @returns {Promise<PartError | null>} what the policy says of this address
 */
async function refusal(url, name = nameOf(url)) {
  await pause(VIOLATION_MS);
  // Of another origin a page is told the origin alone, of what is no place in the network the scheme.
  const { origin, protocol } = new URL(url);
  const directive = refusals.get(url) ?? refusals.get(origin) ?? refusals.get(protocol.slice(0, -1));
  return directive === undefined
    ? null
    : new PartError(name, "blocked", `the Content-Security-Policy forbids it (${directive})`);
}

/**
 * @param {string} url
 * @param {RequestInit} [init]
 * @returns {Promise<Response>} one that is there
 */
export async function fetchPart(url, init) {
  let response;
  try {
    response = await fetch(url, init);
  } catch (error) {
    const why = `it could not be fetched (${textOf(error)})${isForeign(url) ? FOREIGN : ""}`;
    throw (await refusal(url)) ?? new PartError(nameOf(url), "unreachable", why);
  }
  if (!response.ok) {
    const reason = response.status === 404 || response.status === 410 ? "missing" : "unavailable";
    throw new PartError(nameOf(url), reason, `HTTP status ${response.status}${reason === "missing" ? ELSEWHERE : ""}`);
  }
  return response;
}

/**
 * The whole of a file.
 * @param {string} url
 * @param {Uint8Array} magic bytes that it begins with
 * @param {string} kind what it has to be
 * @param {string} [hash] as of `checkHash`
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
export async function fetchBytes(url, magic, kind, hash) {
  const response = await fetchPart(url);
  const bytes = await bytesOf(response);
  if (!beginsWith(bytes, magic)) throw wrongType(response, kind);
  await checkHash(nameOf(url), bytes, hash);
  return bytes;
}

/**
 * @param {string} name of the file
 * @param {BufferSource} bytes
 * @param {string} [hash] SHA-256 in base64; without one everything is right
 */
export async function checkHash(name, bytes, hash) {
  if (hash === undefined) return;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  if (btoa(String.fromCharCode(...digest)) === hash) return;
  throw new PartError(name, "altered", "it is not the file that belongs to this index.js: its SHA-256 is another one");
}

/** @param {Response} response @returns {Promise<Uint8Array<ArrayBuffer>>} */
export async function bytesOf(response) {
  try {
    return new Uint8Array(await response.arrayBuffer());
  } catch (error) {
    throw new PartError(nameOf(response.url), "unreachable", `the connection broke while it came (${textOf(error)})`);
  }
}

/** @param {string} url @param {string} [hash] @returns {Promise<any>} */
export async function fetchJson(url, hash) {
  const response = await fetchPart(url);
  const bytes = await bytesOf(response);
  let value;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    throw wrongType(response, "JSON");
  }
  await checkHash(nameOf(url), bytes, hash);
  return value;
}

/**
 * Compile while the file comes; a server with the wrong MIME type only costs that. The hash is taken meanwhile, and what
 * was compiled is given to nobody before.
 * @param {string} url @param {string} [hash]
 * @returns {Promise<WebAssembly.Module>}
 */
export async function compilePart(url, hash) {
  const response = await fetchPart(url);
  const checked = hash === undefined ? null : bytesOf(response.clone()).then((bytes) => checkHash(nameOf(url), bytes, hash));
  const [module] = await Promise.all([compile(url, response), checked]);
  return module;
}

/** @param {string} url @param {Response} response @returns {Promise<WebAssembly.Module>} */
async function compile(url, response) {
  const type = response.headers.get("content-type")?.split(";")[0].trim().toLowerCase();
  try {
    if (type === "application/wasm") return await WebAssembly.compileStreaming(response);
    const bytes = await bytesOf(response);
    if (!beginsWith(bytes, WASM)) throw wrongType(response, "WebAssembly");
    return await WebAssembly.compile(bytes);
  } catch (error) {
    if (error instanceof PartError) throw error;
    const again = await fetchPart(url);
    const start = await again.body?.getReader().read().catch(() => null);
    if (!beginsWith(start?.value, WASM)) throw wrongType(again, "WebAssembly");
    throw new PartError(nameOf(url), "damaged", `it cannot be compiled (${textOf(error)})`);
  }
}

/** @param {Uint8Array | undefined} bytes @param {Uint8Array} magic @returns {boolean} */
const beginsWith = (bytes, magic) => magic.every((byte, at) => bytes?.[at] === byte);

/**
 * @param {string} url of a module
 * @param {string} name of a function that it exports
 * @param {string} [hash]
 * @returns {Promise<any>} what it exports
 */
export async function importPart(url, name, hash) {
  let module, address = url;
  if (hash !== undefined) {
    const bytes = await bytesOf(await fetchPart(url));
    await checkHash(nameOf(url), bytes, hash);
    address = URL.createObjectURL(new Blob([bytes], { type: "text/javascript" }));
  }
  try {
    module = await import(/* @vite-ignore */ address);
  } catch (error) {
    throw (address === url ? null : await refusal(address, nameOf(url))) ?? (await whyNotStarted(url, textOf(error)));
  }
  if (address !== url) URL.revokeObjectURL(address);
  if (typeof module[name] !== "function") throw new PartError(nameOf(url), "damaged", `it does not export ${name}`);
  return module;
}

/** How a bundler's own script, which is short, brings the worker's. */
const LOADS_ANOTHER = /\bimportScripts\b|\bimport\s*\(/;

/**
 * @param {string} url of a script that neither fails nor says anything
 * @param {string} word that is in it, unless it loads another
 * @returns {Promise<PartError | null>} null: it is what it should be, or cannot be looked at
 */
export async function whyMute(url, word) {
  const bytes = await fetchPart(url).then(bytesOf).catch(() => null);
  const script = bytes && new TextDecoder().decode(bytes);
  if (script === null || script.includes(word) || LOADS_ANOTHER.test(script)) return null;
  return new PartError(nameOf(url), "damaged", script.trim() ? "it is another script" : "it is empty");
}

/**
 * @param {string} url of a script that did not start
 * @param {string} text what the browser says of it, "" where that is nothing
 * @returns {Promise<PartError>} what can be learnt in a second
 */
export async function whyNotStarted(url, text) {
  const refused = await refusal(url);
  if (refused) return refused;
  if (!text && globalThis.origin === "null" && url.startsWith("blob:")) {
    const why = "this page has no origin, and the browser runs no module from its memory there; integrity: \"off\" checks nothing";
    return new PartError(nameOf(url), "unsupported", `${why}, and one file has all inside`);
  }
  try {
    const response = await fetchPart(url, { signal: AbortSignal.timeout(LOOK_MS) });
    response.body?.cancel().catch(() => {});
    const type = response.headers.get("content-type") ?? "";
    if (!/(java|ecma)script/i.test(type)) return wrongType(response, "a script");
    if (!text && !response.headers.has("cross-origin-embedder-policy")) {
      // HTML's "check a worker's embedder policy" fails without a word.
      const why = "if the page has a Cross-Origin-Embedder-Policy, this file needs the same header";
      return new PartError(nameOf(url), "blocked", `the browser refuses it and does not say why; ${why}`);
    }
  } catch (error) {
    // As data the policy may forbid it, and that tells nothing.
    if (error instanceof PartError && error.reason !== "blocked") return error;
  }
  return new PartError(nameOf(url), "damaged", text || "it did not start, and the browser does not say why");
}

/** A page whose policy or browser has no WebAssembly is told so before anything is fetched. */
export function checkWebAssembly() {
  const what = "WebAssembly";
  if (typeof WebAssembly !== "object") throw new PartError(what, "unsupported", "this browser has none, or switched it off");
  try {
    new WebAssembly.Module(EMPTY_MODULE);
  } catch (error) {
    throw new PartError(
      what, "blocked", `the Content-Security-Policy forbids it: script-src needs 'wasm-unsafe-eval' (${textOf(error)})`,
    );
  }
}

/** @param {Response} response @param {string} kind @returns {PartError} */
function wrongType(response, kind) {
  const type = response.headers.get("content-type") ?? "nothing";
  const page = /html/i.test(type), script = /\.m?js$/.test(new URL(response.url).pathname);
  const remedy = page ? `, and answers with a page${ELSEWHERE}` : script ? "; it has to be text/javascript" : "";
  return new PartError(nameOf(response.url), "wrong_type", `it is not ${kind}; the server calls it ${type}${remedy}`);
}

/** @param {unknown} error also of classes that are no `Error` @returns {string} */
export function textOf(error) {
  const { name, message } = /** @type {{name?: unknown, message?: unknown}} */ (error ?? {});
  if (typeof message === "string") return `${name ?? "Error"}: ${message}`;
  const text = String(error);
  return text === "[object Object]" ? `an object with ${Object.keys(/** @type {object} */ (error)).join(", ") || "nothing"} in it` : text;
}
