/**
 * The memory of an interpreter that has everything imported and knows nothing of anybody, kept for the next visit.
 *
 * It is taken in a first visit before anything of the user's is known (no option, no key, no address), and written to
 * Cache Storage when the tunnel is up, so that later visits start without imports. At most one is kept, for the build
 * that made it. It is never needed: where storage is missing, full or refused, or what it holds is not what was written, a
 * start goes as the first one did.
 *
 * @module
 */

const CACHE = "smolmix-web";
const FOLDER = "snapshot/";
const LENGTH = "x-length", DIGEST = "x-digest";

/**
 * @param {string} base address of the worker's files; nothing is ever fetched from the name below it
 * @param {string} build which files made it
 * @returns {string}
 */
const keyOf = (base, build) => `${base}${FOLDER}${build}`;

/** @param {BufferSource} bytes @returns {Promise<string>} */
async function digestOf(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * @param {string} base
 * @param {string} build
 * @returns {Promise<Uint8Array | null>} null: there is none that can be used
 */
export async function findSnapshot(base, build) {
  try {
    const cache = await caches.open(CACHE);
    const found = await cache.match(keyOf(base, build));
    if (!found) return null;
    const packed = await found.arrayBuffer();
    if ((await digestOf(packed)) !== found.headers.get(DIGEST)) return null;
    const plain = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const bytes = new Uint8Array(Number(found.headers.get(LENGTH)));
    let at = 0;
    for (const reader = plain.getReader(); ;) {
      const { done, value } = await reader.read();
      if (done) return at === bytes.length ? bytes : null;
      bytes.set(value, at);
      at += value.length;
    }
  } catch {
    return null;
  }
}

/**
 * Keep this one and no other.
 * @param {string} base
 * @param {string} build
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @returns {Promise<boolean>} whether it is kept
 */
export async function keepSnapshot(base, build, bytes) {
  try {
    const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"));
    const packed = await new Response(stream).arrayBuffer();
    const headers = { [LENGTH]: String(bytes.length), [DIGEST]: await digestOf(packed) };
    await dropSnapshots();
    const cache = await caches.open(CACHE);
    await cache.put(keyOf(base, build), new Response(packed, { headers }));
    return true;
  } catch {
    await dropSnapshots();
    return false;
  }
}

/** Forget what is kept. */
export async function dropSnapshots() {
  try {
    await caches.delete(CACHE);
  } catch {
    // no storage, nothing kept
  }
}
