/**
 * Tells how much of the first load is there: the page can show it (page/monitor/). Whole files are counted: a stream that
 * looks at every piece of a program would keep browsers from compiling it as it comes, and from keeping what they compiled.
 *
 * @module
 */

/** @typedef {import("./distribution.js").Distribution} Distribution */
/** @typedef {import("../shared/messages.js").Loading} Loading */

const PARTS = /** @type {const} */ (["lock", "loader", "script", "program", "pack"]);

/** @param {readonly string[]} files addresses, or of folders @returns {number} bytes of their bodies, as they came */
function bytesOf(files) {
  const entries = /** @type {PerformanceResourceTiming[]} */ (performance.getEntriesByType("resource"));
  const ours = entries.filter(({ name }) => files.some((file) => name === file || (file.endsWith("/") && name.startsWith(file))));
  return ours.reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0);
}

/**
 * @param {Distribution} parts
 * @param {(loading: Loading) => void} tell when one of them is there
 * @returns {Distribution} the same
 */
export function watchLoading(parts, tell) {
  let files = 0;
  const watched = PARTS.map((name) => [name, async () => {
    const part = await /** @type {() => Promise<unknown>} */ (parts[name])();
    files = Math.min(files + 1, PARTS.length); // a start that failed is begun anew
    tell({ files, of: PARTS.length, bytes: bytesOf(parts.files) });
    return part;
  }]);
  return { ...parts, ...Object.fromEntries(watched) };
}
