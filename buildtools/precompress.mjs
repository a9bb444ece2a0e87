// Writes NAME.gz and NAME.br beside each file that is named in a list. Usage: node precompress.mjs LIST.json
// For static servers that send them as they are; gzip without name, time and system, so that equal files give equal bytes.
import { readFileSync, writeFileSync } from "node:fs";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { anySystem } from "./gzip.mjs";

/** Text that is compressed data as base64 gains its quarter at any setting, and takes minutes at the strongest. */
const PACKED = /[/\\]single[/\\]/;

for (const path of JSON.parse(readFileSync(process.argv[2], "utf8"))) {
  const data = readFileSync(path);
  const packed = PACKED.test(path);
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: packed ? 5 : constants.BROTLI_MAX_QUALITY,
    [constants.BROTLI_PARAM_LGWIN]: constants.BROTLI_MAX_WINDOW_BITS,
    [constants.BROTLI_PARAM_SIZE_HINT]: data.length,
  };
  writeFileSync(`${path}.gz`, anySystem(gzipSync(data, { level: packed ? 6 : 9 })));
  writeFileSync(`${path}.br`, brotliCompressSync(data, { params }));
}
