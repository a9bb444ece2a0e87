// The header of a gzip file names the system that wrote it (RFC 1952, section 2.3.1: OS). Here it is always "unknown", so
// that Linux, macOS and Windows write the same bytes.
const SYSTEM = 9, UNKNOWN = 255;

/** @param {Buffer} data a gzip file, which is changed @returns {Buffer} */
export function anySystem(data) {
  data[SYSTEM] = UNKNOWN;
  return data;
}
