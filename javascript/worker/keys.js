/**
 * Keys of records, in the places of all hosts: for AES-GCM, and not to be taken out again.
 *
 * @module
 */

/** Bytes of a key that lies beside its record. */
export const KEY_LENGTH = 32;

/** @param {Uint8Array<ArrayBuffer>} raw @returns {Promise<CryptoKey>} */
export const importKey = (raw) => crypto.subtle.importKey("raw", raw, "AES-GCM", false, ["encrypt", "decrypt"]);

/**
 * The key of a record without passphrase, where the place keeps nothing but bytes.
 * @param {Uint8Array<ArrayBuffer> | undefined} found
 * @param {boolean} create
 * @param {(key: Uint8Array<ArrayBuffer>) => Promise<void>} keep
 * @returns {Promise<CryptoKey | undefined>}
 */
export async function keyBeside(found, create, keep) {
  if (found?.length === KEY_LENGTH) return importKey(found);
  if (!create) return undefined;
  const fresh = crypto.getRandomValues(new Uint8Array(KEY_LENGTH));
  await keep(fresh);
  return importKey(fresh);
}
