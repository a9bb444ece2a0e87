/**
 * The memory of an interpreter that has everything imported and knows nothing of anybody, kept for the next visit, and the
 * unpacked library beside it.
 *
 * The memory is taken in a first visit before anything of the user's is known (no option, no key, no address), and written
 * to Cache Storage when the tunnel is up, so that later visits start without imports. At most one is kept, for the build
 * that made it. It is never needed: where storage is missing, full or refused, or what it holds is not what was written, a
 * start goes as the first one did.
 *
 * What is kept is not compressed: to read the whole takes a fraction of the time of unpacking it. Half of the memory's
 * pages are empty and left out.
 *
 * @module
 */

const CACHE = "smolmix-web";
const FOLDER = "snapshot/";
const LENGTH = "x-length", LIBRARY = "x-library", DIGEST = "x-digest";
const PAGE = 4096;

/** @typedef {import("./runtime.js").Library} Library */
/** @typedef {{memory: Uint8Array, library: Library}} Snapshot */

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

/** @param {Uint8Array<ArrayBuffer>} memory @returns {number[]} the pages that are not empty, and the last one */
function pagesInUse(memory) {
  const words = new Uint32Array(memory.buffer, memory.byteOffset, memory.length >> 2);
  const count = Math.ceil(memory.length / PAGE), each = PAGE >> 2;
  const used = [];
  for (let page = 0; page < count; page += 1) {
    let at = page * each;
    const end = at + each;
    while (at < end && words[at] === 0) at += 1;
    if (at < end || page === count - 1) used.push(page);
  }
  return used;
}

/**
 * A list of pages, the pages, the library.
 * @param {Uint8Array<ArrayBuffer>} memory @param {Library} library @returns {Blob}
 */
function pack(memory, library) {
  const used = pagesInUse(memory);
  const parts = used.map((page) => memory.subarray(page * PAGE, (page + 1) * PAGE));
  return new Blob([Uint32Array.of(used.length, ...used), ...parts, library]);
}

/**
 * @param {ArrayBuffer} packed @param {number} length of the memory @param {number} rest length of the library
 * @returns {Snapshot | null} null: this is something else
 */
function unpack(packed, length, rest) {
  const count = new Uint32Array(packed, 0, 1)[0];
  const used = new Uint32Array(packed, 4, count);
  const memory = new Uint8Array(length);
  let at = 4 * (count + 1);
  for (const page of used) {
    const begin = page * PAGE, size = Math.min(PAGE, length - begin);
    memory.set(new Uint8Array(packed, at, size), begin);
    at += size;
  }
  if (at + rest !== packed.byteLength) return null;
  return { memory, library: new Uint8Array(packed.slice(at)) };
}

/**
 * @param {string} base
 * @param {string} build
 * @returns {Promise<Snapshot | null>} null: there is none that can be used
 */
export async function findSnapshot(base, build) {
  try {
    const cache = await caches.open(CACHE);
    const found = await cache.match(keyOf(base, build));
    if (!found) return null;
    const packed = await found.arrayBuffer();
    const digest = digestOf(packed);
    digest.catch(() => {}); // what is of another form is of no use before
    const snapshot = unpack(packed, Number(found.headers.get(LENGTH)), Number(found.headers.get(LIBRARY)));
    return (await digest) === found.headers.get(DIGEST) ? snapshot : null;
  } catch {
    return null;
  }
}

/**
 * Keep this one and no other.
 * @param {string} base
 * @param {string} build
 * @param {Uint8Array<ArrayBuffer>} memory
 * @param {Library} library
 * @returns {Promise<boolean>} whether it is kept
 */
export async function keepSnapshot(base, build, memory, library) {
  try {
    const packed = pack(memory, library);
    const headers = {
      [LENGTH]: String(memory.length), [LIBRARY]: String(library.length), [DIGEST]: await digestOf(await packed.arrayBuffer()),
    };
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
