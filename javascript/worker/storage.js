/**
 * The browser's half of the vault (smolmix_web/storage): calls into IndexedDB, Web Locks, WebCrypto and Argon2id for the
 * module `smolmix_storage`. What the bytes mean is decided in Python; nothing comes here that is not sealed, except to be
 * sealed.
 *
 * One database for the origin, "smolmix-web", keyed by client id: `records` (Uint8Array), `keys` (CryptoKey, not
 * extractable), and `aside` with keys [client id, time] for records that could not be used. Its version number means
 * nothing: missing stores are added, so a database of another release or another program is never in the way.
 *
 * @module
 */

import libsodium from "libsodium-sumo";
import { importKey } from "./keys.js";
import { createLock } from "./locks.js";

const DATABASE = "smolmix-web";
const STORES = ["records", "keys", "aside"];

/**
 * @template T
 * @param {IDBRequest<T>} request
 * @returns {Promise<T>}
 */
function outcome(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/**
 * The database with our stores in it.
 * @param {number} [version] what to raise it to, because stores are missing
 * @returns {Promise<IDBDatabase>}
 */
async function openDatabase(version) {
  const request = version === undefined ? indexedDB.open(DATABASE) : indexedDB.open(DATABASE, version);
  request.onupgradeneeded = () => {
    for (const store of STORES) {
      if (!request.result.objectStoreNames.contains(store)) request.result.createObjectStore(store);
    }
  };
  // A page that holds another version open, and does not let go of it, would keep us waiting.
  const blocked = new Promise((_, reject) => {
    request.onblocked = () => {
      request.addEventListener("success", () => request.result.close());
      reject(new Error(`the database ${DATABASE} is held open by another page`));
    };
  });
  const database = await Promise.race([outcome(request), blocked]);
  database.onversionchange = () => database.close(); // never in the way of another tab
  if (STORES.every((store) => database.objectStoreNames.contains(store))) return database;
  database.close();
  if (version !== undefined) throw new Error(`the database ${DATABASE} lacks stores`);
  return openDatabase(database.version + 1);
}

/**
 * One transaction, on the disk when the promise resolves.
 * @template T
 * @param {string[]} stores
 * @param {IDBTransactionMode} mode
 * @param {(transaction: IDBTransaction) => Promise<T>} body awaits nothing but requests of this transaction
 * @returns {Promise<T>}
 */
async function transact(stores, mode, body) {
  const database = await openDatabase();
  try {
    const transaction = database.transaction(stores, mode, { durability: "strict" });
    const finished = new Promise((resolve, reject) => {
      transaction.oncomplete = () => resolve(undefined);
      transaction.onabort = () => reject(transaction.error ?? new Error("the transaction was aborted"));
    });
    finished.catch(() => {}); // awaited below, unless the body fails first
    const value = await body(transaction);
    await finished;
    return value;
  } finally {
    database.close();
  }
}

/** Memory that a passphrase took is given back with the instance of libsodium that held it. */
async function freshSodium() {
  const sodium = await libsodium({ getRandomValue: () => crypto.getRandomValues(new Uint32Array(1))[0] });
  if (sodium._sodium_init() < 0) throw new Error("libsodium did not initialise");
  return sodium;
}

/**
 * The functions for Python. Each promise rejects with what the browser says.
 * @param {() => boolean} [takeOver] whoever holds the place of our client id is a tab that has stopped, and whose tunnel is ours now
 */
export function createStorage(takeOver = () => false) {
  const place = createLock(takeOver);

  return {
    /** @param {string} clientId @param {number} patience @returns {Promise<boolean>} as in locks.js */
    lock(clientId, patience) {
      if (!navigator.locks || !crypto.subtle) {
        return Promise.reject(new Error("this page has no Web Locks or WebCrypto: it is not a secure context"));
      }
      return place.lock(clientId, patience);
    },

    unlock: place.unlock,

    /** @param {string} clientId @returns {Promise<Uint8Array | undefined>} */
    read(clientId) {
      return transact(["records"], "readonly", async (transaction) => {
        const value = await outcome(transaction.objectStore("records").get(clientId));
        // Anything else is no record of ours: as good as damaged.
        return value === undefined || value instanceof Uint8Array ? value : new Uint8Array(0);
      });
    },

    /** @param {string} clientId @param {Uint8Array} record @returns {Promise<void>} */
    write(clientId, record) {
      return transact(["records"], "readwrite", async (transaction) => {
        await outcome(transaction.objectStore("records").put(record, clientId));
      });
    },

    /**
     * Move the record to `aside`, where at most `keep` stay for each client id. Resolves with its key there.
     * @param {string} clientId @param {number} time Unix seconds @param {number} keep
     * @returns {Promise<string>}
     */
    setAside(clientId, time, keep) {
      return transact(["records", "aside"], "readwrite", async (transaction) => {
        const records = transaction.objectStore("records"), aside = transaction.objectStore("aside");
        const record = await outcome(records.get(clientId));
        const kept = await outcome(aside.getAllKeys(IDBKeyRange.bound([clientId], [clientId, []])));
        const newest = /** @type {[string, number] | undefined} */ (kept.at(-1))?.[1] ?? -1;
        const place = [clientId, Math.max(time, newest + 1)];
        for (const key of kept.slice(0, Math.max(0, kept.length + 1 - keep))) aside.delete(key);
        await outcome(aside.put(record, place));
        await outcome(records.delete(clientId));
        return `${DATABASE}/aside/${place.join("/")}`;
      });
    },

    /**
     * The browser's own key for a client id. No script can read its bytes, and it never leaves this browser.
     * @param {string} clientId @param {boolean} create
     * @returns {Promise<CryptoKey | undefined>}
     */
    async ownKey(clientId, create) {
      // Made before the transaction, which would not wait for it.
      const fresh = create
        ? await crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"])
        : undefined;
      return transact(["keys"], create ? "readwrite" : "readonly", async (transaction) => {
        const keys = transaction.objectStore("keys");
        const found = await outcome(keys.get(clientId));
        if (found instanceof CryptoKey && found.algorithm.name === "AES-GCM") return found;
        if (fresh) await outcome(keys.put(fresh, clientId));
        return fresh;
      });
    },

    /**
     * Argon2id 1.3 with one lane.
     * @param {Uint8Array} passphrase wiped @param {Uint8Array} salt 16 bytes @param {number} memory KiB @param {number} passes
     * @returns {Promise<CryptoKey>}
     */
    async passphraseKey(passphrase, salt, memory, passes) {
      const sodium = await freshSodium();
      const [out, saltAt, textAt] = [32, 16, Math.max(1, passphrase.length)].map((size) => sodium._malloc(size));
      sodium.HEAPU8.set(salt, saltAt);
      sodium.HEAPU8.set(passphrase, textAt);
      const argon2id13 = 2;
      const code = sodium._crypto_pwhash_argon2id(
        out, 32, 0, textAt, passphrase.length, 0, saltAt, passes, 0, memory * 1024, argon2id13,
      );
      passphrase.fill(0);
      sodium.HEAPU8.fill(0, textAt, textAt + passphrase.length);
      if (code !== 0) throw new Error(`Argon2id did not get its ${memory} KiB of memory`);
      const raw = sodium.HEAPU8.slice(out, out + 32);
      sodium.HEAPU8.fill(0, out, out + 32);
      try {
        return await importKey(raw);
      } finally {
        raw.fill(0);
      }
    },

    /**
     * @param {CryptoKey} key @param {Uint8Array<ArrayBuffer>} nonce @param {Uint8Array<ArrayBuffer>} data
     * @param {Uint8Array<ArrayBuffer>} associated
     * @returns {Promise<Uint8Array>} ciphertext and tag
     */
    async seal(key, nonce, data, associated) {
      const sealed = await crypto.subtle.encrypt({ name: "AES-GCM", iv: nonce, additionalData: associated }, key, data);
      data.fill(0);
      return new Uint8Array(sealed);
    },

    /**
     * @param {CryptoKey} key @param {Uint8Array<ArrayBuffer>} nonce @param {Uint8Array<ArrayBuffer>} sealed
     * @param {Uint8Array<ArrayBuffer>} associated
     * @returns {Promise<Uint8Array | undefined>} undefined when the tag does not check
     */
    async open(key, nonce, sealed, associated) {
      try {
        const plain = await crypto.subtle.decrypt({ name: "AES-GCM", iv: nonce, additionalData: associated }, key, sealed);
        return new Uint8Array(plain);
      } catch (error) {
        if (error instanceof DOMException && error.name === "OperationError") return undefined;
        throw error;
      }
    },
  };
}
