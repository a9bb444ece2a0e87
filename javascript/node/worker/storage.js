/**
 * The vault of programs: a folder for each client id, with the files and the record of Python programs
 * (smolmix_web/storage/files.py), in the place of IndexedDB. Stands in the place of `../../worker/storage.js`.
 *
 *     <data folder>/smolmix-web-node/<client id>/     mode 0700, its files 0600
 *         identity                 the record, sealed
 *         key                      the key of a record without passphrase
 *         identity.<time>.aside    records that could not be used
 *         lock                     a socket on which the tunnel listens that holds the folder
 *
 * The key beside the record protects a copy of the record alone. The system closes a socket when its program ends, however
 * that ends: what is left of it refuses callers, and is taken away by the next one.
 *
 * @module
 */

import { createHash, randomBytes } from "node:crypto";
import { constants, openSync, readFileSync, fstatSync, closeSync, fchmodSync } from "node:fs";
import { mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { KEY_LENGTH, keyBeside } from "../../worker/keys.js";
import { createStorage as createBrowserStorage } from "../../worker/storage.js";
import { knock, listenOn } from "./wires.js";

const RECORD = "identity", KEY = "key";
/** As in storage/envelope.py, and one more byte. */
const MAX_RECORD = (1 << 16) + 1;
const MAX_NAME = 120;
const RETRY_MS = 50;
/** Systems take paths of little more than a hundred bytes. */
const MOST_SOCKET_NAME = 90;
const WINDOWS = process.platform === "win32";

/** Where programs keep data of this user. */
function dataFolder() {
  const { env, platform } = process;
  if (WINDOWS) return env.LOCALAPPDATA || join(homedir(), "AppData", "Local");
  if (platform === "darwin") return join(homedir(), "Library", "Application Support");
  return env.XDG_DATA_HOME?.startsWith("/") ? env.XDG_DATA_HOME : join(homedir(), ".local", "share");
}

/** @param {string} clientId @returns {string} one path component: different ids get different ones, none has a separator */
export function folderName(clientId) {
  const escape = (/** @type {string} */ char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`;
  const name = encodeURIComponent(clientId.toWellFormed()).replace(/[.~!'()*]/g, escape);
  if (name.length <= MAX_NAME) return name;
  return `${name.slice(0, MAX_NAME - 65)}-${createHash("sha256").update(clientId).digest("hex")}`;
}

/** @param {string} clientId @returns {string} */
const folderOf = (clientId) => join(dataFolder(), "smolmix-web-node", folderName(clientId));

/** @param {string} folder @returns {string} the name that whoever holds the folder listens on */
function lockOf(folder) {
  const inside = join(folder, "lock");
  if (!WINDOWS && inside.length <= MOST_SOCKET_NAME) return inside;
  const name = `smolmix-web-${createHash("sha256").update(folder).digest("hex").slice(0, 32)}`;
  return WINDOWS ? `\\\\.\\pipe\\${name}` : join(tmpdir(), `${name}.lock`);
}

/**
 * Take away what a program that was killed has left. Under another name first: somebody else may have done that, and hold
 * the place by now.
 * @param {string} name
 */
async function clearAway(name) {
  if (WINDOWS || (await knock(name))) return;
  const aside = `${name}.${randomBytes(4).toString("hex")}`;
  try {
    await rename(name, aside);
    if (await knock(aside)) await rename(aside, name);
    else await rm(aside, { force: true });
  } catch (error) {
    if (/** @type {{code?: string}} */ (error).code !== "ENOENT") throw error;
  }
}

/** @param {string} path @param {number} limit @returns {Uint8Array<ArrayBuffer> | undefined} undefined: there is none */
function readWhole(path, limit) {
  let file;
  try {
    // Without O_NONBLOCK a pipe in the file's place would be waited for.
    file = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  } catch (error) {
    if (/** @type {{code?: string}} */ (error).code === "ENOENT") return undefined;
    throw error;
  }
  try {
    const status = fstatSync(file);
    if (!status.isFile()) throw new Error(`not a file: ${path}`);
    if (!WINDOWS && status.mode & 0o077) fchmodSync(file, 0o600);
    return status.size > limit ? new Uint8Array(limit) : new Uint8Array(readFileSync(file));
  } finally {
    closeSync(file);
  }
}

/**
 * Beside its place, flushed to the disk, then renamed: a crash leaves the old file or the new one.
 * @param {string} folder @param {string} name @param {Uint8Array} data
 */
async function writeWhole(folder, name, data) {
  const beside = join(folder, `.new-${randomBytes(8).toString("hex")}`);
  try {
    const file = await open(beside, "wx", 0o600);
    try {
      await file.writeFile(data);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(beside, join(folder, name));
  } catch (error) {
    await rm(beside, { force: true });
    throw error;
  }
  await syncFolder(folder);
}

/** @param {string} folder */
async function syncFolder(folder) {
  if (WINDOWS) return; // which has no such thing
  const file = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** The functions for Python, as in a browser. */
export function createStorage() {
  const { passphraseKey, seal, open: unseal } = createBrowserStorage();
  /** @type {{close: () => void} | null} */
  let held = null;
  let wanted = false;

  return {
    passphraseKey,
    seal,
    open: unseal,

    /** @param {string} clientId @param {number} patience in milliseconds @returns {Promise<boolean>} */
    async lock(clientId, patience) {
      wanted = true;
      const folder = folderOf(clientId);
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const { mode } = await stat(folder);
      if (!WINDOWS && mode & 0o077) throw new Error(`others may look into ${folder}: chmod 700 it`);
      const name = lockOf(folder);
      for (const end = performance.now() + patience; ;) {
        const server = await listenOn(name);
        if (server && wanted) {
          held = server;
          for (const left of await readdir(folder)) if (left.startsWith(".new-")) await rm(join(folder, left), { force: true });
          return true;
        }
        server?.close();
        if (!server) await clearAway(name);
        if (performance.now() > end || !wanted) return false;
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    },

    unlock() {
      wanted = false;
      held?.close();
      held = null;
    },

    /** @param {string} clientId */
    async read(clientId) {
      return readWhole(join(folderOf(clientId), RECORD), MAX_RECORD);
    },

    /** @param {string} clientId @param {Uint8Array} record */
    write(clientId, record) {
      return writeWhole(folderOf(clientId), RECORD, record);
    },

    /** @param {string} clientId @param {number} time Unix seconds @param {number} keep @returns {Promise<string>} */
    async setAside(clientId, time, keep) {
      const folder = folderOf(clientId);
      const others = (await readdir(folder)).filter((name) => /^identity\.\d+\.aside$/.test(name)).sort();
      const newest = Number(/\d+/.exec(others.at(-1) ?? "")?.[0] ?? -1);
      const place = join(folder, `${RECORD}.${String(Math.max(time, newest + 1)).padStart(12, "0")}.aside`);
      await rename(join(folder, RECORD), place);
      await syncFolder(folder);
      for (const old of others.slice(0, Math.max(0, others.length + 1 - keep))) await rm(join(folder, old), { force: true });
      return place;
    },

    /** @param {string} clientId @param {boolean} create @returns {Promise<CryptoKey | undefined>} */
    async ownKey(clientId, create) {
      const folder = folderOf(clientId);
      return keyBeside(readWhole(join(folder, KEY), KEY_LENGTH + 1), create, (key) => writeWhole(folder, KEY, key));
    },
  };
}
