/**
 * What two chat pages say to each other on one stream: frames of one octet for the kind, four for the length (big
 * endian), and as many of content. A file is its announcement, its pieces and its end, between which texts may stand.
 *
 * @module
 */

/** Kinds of frames. */
export const TEXT = 1, FILE = 2, PIECE = 3, END = 4;
/** Octets of a frame's content at most. */
export const MAX_CONTENT = 64 * 1024;

const HEAD = 5;

/**
 * @param {number} kind
 * @param {Uint8Array} content
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function frame(kind, content) {
  const bytes = new Uint8Array(HEAD + content.length);
  bytes[0] = kind;
  new DataView(bytes.buffer).setUint32(1, content.length);
  bytes.set(content, HEAD);
  return bytes;
}

/**
 * Frames as they come; ends with the stream, which must not end within one.
 * @param {ReadableStream<Uint8Array>} readable
 * @returns {AsyncGenerator<{kind: number, content: Uint8Array<ArrayBuffer>}, void, undefined>}
 */
export async function* frames(readable) {
  const reader = readable.getReader();
  let held = new Uint8Array(0);
  for (;;) {
    const length = held.length >= HEAD ? new DataView(held.buffer, held.byteOffset).getUint32(1) : 0;
    if (length > MAX_CONTENT) throw new Error(`a frame of ${length} bytes is too long`);
    if (held.length >= HEAD + length) {
      yield { kind: held[0] ?? 0, content: held.slice(HEAD, HEAD + length) };
      held = held.subarray(HEAD + length);
      continue;
    }
    const { value, done } = await reader.read();
    if (done) {
      if (held.length) throw new Error("the stream ended within a frame");
      return;
    }
    const joined = new Uint8Array(held.length + value.length);
    joined.set(held);
    joined.set(value, held.length);
    held = joined;
  }
}
