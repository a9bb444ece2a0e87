/**
 * The vault in the page's own place (option `storage`): the functions of storage.js over `get`, `set` and `delete` of text,
 * which live in the page (page/own-storage.js). As in a folder the key of a record without passphrase lies beside it.
 *
 *     smolmix-web/<client id>/identity       the record, sealed; base64, as the key
 *     smolmix-web/<client id>/key            the key of a record without passphrase
 *     smolmix-web/<client id>/aside-<n>      records that could not be used, the newest is 1
 *
 * @module
 */

import { keyBeside } from "./keys.js";
import { createLock } from "./locks.js";

/** @typedef {import("../shared/messages.js").Keeping} Keeping */
/** @typedef {import("../shared/messages.js").Kept} Kept */

const PREFIX = "smolmix-web";
const RETRY_MS = 50;

/** @param {Uint8Array} bytes @returns {string} */
function toText(bytes) {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

/** @param {string | null} text @returns {Uint8Array<ArrayBuffer> | undefined} no bytes for what is no base64: as good as damaged */
function toBytes(text) {
  if (text === null) return undefined;
  try {
    return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  } catch {
    return new Uint8Array();
  }
}

/** @param {string} clientId @param {string} part */
const nameOf = (clientId, part) => `${PREFIX}/${clientId}/${part}`;

/**
 * Questions to the page. It answers each within its time, and who asks has a deadline besides (storage/store.py).
 * @param {(message: Keeping) => void} post
 */
export function createKeeper(post) {
  /** @type {Map<number, {resolve: (value: string | null) => void, reject: (error: Error) => void}>} */
  const waiting = new Map();
  let last = 0;

  return {
    /** @param {Keeping["action"]} action @param {string} key @param {string} [value] @returns {Promise<string | null>} */
    ask(action, key, value) {
      const call = ++last;
      return new Promise((resolve, reject) => {
        waiting.set(call, { resolve, reject });
        post({ type: "keep", call, action, key, value });
      });
    },

    /** @param {Kept} answer */
    receive({ call, value, error }) {
      const one = waiting.get(call);
      waiting.delete(call);
      if (error === undefined) one?.resolve(value);
      else one?.reject(new Error(error));
    },
  };
}

/**
 * The functions for Python, as those of storage.js.
 * @param {ReturnType<typeof import("./storage.js").createStorage>} base whose ciphers are used
 * @param {ReturnType<typeof createKeeper>["ask"]} ask
 * @param {() => boolean} [takeOver] as in `createStorage`
 */
export function createOwnStorage({ passphraseKey, seal, open }, ask, takeOver = () => false) {
  const origin = globalThis.navigator?.locks ? createLock(takeOver) : null;
  /** @type {string | null} */
  let wanted = null;

  function unlock() {
    origin?.unlock();
    if (wanted !== null) ask("let-go", wanted).catch(() => {});
    wanted = null;
  }

  return {
    passphraseKey,
    seal,
    open,
    unlock,

    /** Of this page by the place itself, of the origin by the browser. @param {string} clientId @param {number} patience */
    async lock(clientId, patience) {
      wanted = clientId;
      for (const end = performance.now() + patience; ;) {
        if ((await ask("hold", clientId)) === clientId) break;
        if (performance.now() > end || wanted === null) return false;
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
      if (wanted !== null && (!origin || (await origin.lock(clientId, patience)))) return true;
      unlock();
      return false;
    },

    /** @param {string} clientId @returns {Promise<Uint8Array | undefined>} */
    async read(clientId) {
      return toBytes(await ask("get", nameOf(clientId, "identity")));
    },

    /** @param {string} clientId @param {Uint8Array} record */
    async write(clientId, record) {
      await ask("set", nameOf(clientId, "identity"), toText(record));
    },

    /** The oldest first, so that nothing is lost in between. @param {string} clientId @param {number} _time @param {number} keep */
    async setAside(clientId, _time, keep) {
      const places = ["identity", ...Array.from({ length: keep }, (_, index) => `aside-${index + 1}`)];
      for (let to = keep; to > 0; to -= 1) {
        const moved = await ask("get", nameOf(clientId, places[to - 1]));
        if (moved !== null) await ask("set", nameOf(clientId, places[to]), moved);
      }
      await ask("delete", nameOf(clientId, "identity"));
      return nameOf(clientId, places[1]);
    },

    /** @param {string} clientId @param {boolean} create @returns {Promise<CryptoKey | undefined>} */
    async ownKey(clientId, create) {
      const name = nameOf(clientId, "key");
      return keyBeside(toBytes(await ask("get", name)), create, async (key) => void await ask("set", name, toText(key)));
    },
  };
}
