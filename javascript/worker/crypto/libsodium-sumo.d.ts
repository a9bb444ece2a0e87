/** The part of the raw libsodium module that worker/crypto uses; the package ships no types. Pointers are numbers. */
declare module "libsodium-sumo" {
  export interface Sodium {
    readonly HEAPU8: Uint8Array;
    _sodium_init(): number;
    _malloc(size: number): number;
    _free(pointer: number): void;
    _crypto_scalarmult_curve25519(out: number, scalar: number, point: number): number;
    _crypto_scalarmult_curve25519_base(out: number, scalar: number): number;
    _crypto_core_ed25519_scalar_mul(out: number, x: number, y: number): void;
    _crypto_core_ed25519_scalar_negate(out: number, x: number): void;
    _crypto_sign_ed25519_seed_keypair(publicKey: number, secretKey: number, seed: number): number;
    _crypto_sign_ed25519_detached(
      signature: number, lengthOut: number, message: number, length: number, lengthHigh: number, secretKey: number,
    ): number;
    _crypto_sign_ed25519_verify_detached(
      signature: number, message: number, length: number, lengthHigh: number, publicKey: number,
    ): number;
    _crypto_stream_chacha20_xor(
      out: number, data: number, length: number, lengthHigh: number, nonce: number, key: number,
    ): number;
    _crypto_generichash(
      out: number, outLength: number, data: number, length: number, lengthHigh: number, key: number, keyLength: number,
    ): number;
    _crypto_pwhash_argon2id(
      out: number, outLength: number, outLengthHigh: number, passphrase: number, length: number, lengthHigh: number,
      salt: number, passes: number, passesHigh: number, memory: number, algorithm: number,
    ): number;
    _crypto_auth_hmacsha256_statebytes(): number;
    _crypto_auth_hmacsha256_init(state: number, key: number, keyLength: number): number;
    _crypto_auth_hmacsha256_update(state: number, data: number, length: number, lengthHigh: number): number;
    _crypto_auth_hmacsha256_final(state: number, out: number): number;
  }
  /** Instantiates the WebAssembly module inside the package. */
  export default function libsodium(options: { getRandomValue: () => number }): Promise<Sodium>;
}
