/**
 * Unpacks Zstandard with the decoder that is in the interpreter already (Python's `compression.zstd` has it): several times
 * as fast as one in JavaScript, and nothing more to load.
 *
 * @module
 */

/** What of the interpreter's exports is used here; `UNPACKER` in buildtools/trim.py keeps them.
 * @typedef {object} Decoder
 * @property {WebAssembly.Memory} memory
 * @property {(size: number) => number} malloc 0: no memory
 * @property {(address: number) => void} free
 * @property {() => number} ZSTD_createDCtx
 * @property {(context: number) => number} ZSTD_freeDCtx
 * @property {(context: number, parameter: number, value: number) => number} ZSTD_DCtx_setParameter
 * @property {(source: number, size: number) => bigint} ZSTD_getFrameContentSize
 * @property {(context: number, output: number, input: number) => number} ZSTD_decompressStream 0: the frame is complete
 */

/** `ZSTD_d_stableOutBuffer` (zstd.h): what is unpacked serves as the window, no other is made. */
const STABLE_OUTPUT = 1001;
const MOST = 64 << 20; // bytes; what says that it is larger is something else

/**
 * One frame that names its size. Nothing of it stays in the interpreter's memory, which may be kept (snapshot.js).
 *
 * @param {Decoder} decoder after its constructors ran
 * @param {Uint8Array} packed
 * @returns {Uint8Array<ArrayBuffer>}
 * @throws {Error} that says what is wrong with the frame, or that there is no memory
 */
export function unpack(decoder, packed) {
  /** @type {[number, number][]} */
  const taken = [];
  const take = (/** @type {number} */ size) => {
    const address = decoder.malloc(size);
    if (address === 0) throw new Error("no memory");
    taken.push([address, size]);
    return address;
  };
  const bytes = (/** @type {number} */ address, /** @type {number} */ size) => new Uint8Array(decoder.memory.buffer, address, size);
  const context = decoder.ZSTD_createDCtx();
  try {
    if (context === 0) throw new Error("no memory");
    const input = take(packed.length);
    bytes(input, packed.length).set(packed);
    const size = decoder.ZSTD_getFrameContentSize(input, packed.length);
    if (size < 0n || size > MOST) throw new Error("its frame has no fitting size");
    const length = Number(size), output = take(length);
    // Two buffers of zstd.h: address, size, how far it is.
    const buffers = take(24);
    new Uint32Array(decoder.memory.buffer, buffers, 6).set([output, length, 0, input, packed.length, 0]);
    decoder.ZSTD_DCtx_setParameter(context, STABLE_OUTPUT, 1);
    const rest = decoder.ZSTD_decompressStream(context, buffers, buffers + 12);
    if (rest !== 0) throw new Error(rest < 0 ? "its frame is not valid" : "its frame is incomplete");
    return bytes(output, length).slice();
  } finally {
    for (const [address, size] of taken) {
      bytes(address, size).fill(0);
      decoder.free(address);
    }
    decoder.ZSTD_freeDCtx(context);
  }
}
