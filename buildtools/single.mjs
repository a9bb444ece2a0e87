// Bundles the page's API, the worker, Pyodide and its parts into one file: a module, and a script that sets `smolmix`.
// Usage: node single.mjs SOURCES DIST
//
// The worker's script is a string in it; the binary parts are compressed once and base64 once
// (javascript/worker/single/own-files.js).
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { anySystem } from "./gzip.mjs";
import { OPTIONS, WORKER, pyodideInside } from "./pyodide_inside.mjs";

const [sources, dist] = process.argv.slice(2);
const page = join(sources, "page", "single"), worker = join(sources, "worker");
const pyodide = join(dist, "pyodide");

/** A module of the build's own in the place of one that has a name alone. */
const made = (filter, contents) => ({
  name: String(filter),
  setup({ onResolve, onLoad }) {
    onResolve({ filter }, () => ({ path: String(filter), namespace: String(filter) }));
    onLoad({ filter: /.*/, namespace: String(filter) }, () => ({ contents, resolveDir: pyodide }));
  },
});

const file = (name) => readFileSync(join(pyodide, name));
const lock = JSON.parse(file("pyodide-lock.json").toString());
const { on_demand: wanted } = lock.info;
lock.packages = Object.fromEntries(Object.entries(lock.packages).filter(([name]) => wanted.includes(name)));
const wheels = Object.values(lock.packages).map(({ file_name: name }) => [name, file(name).toString("base64")]);
const parts = {
  program: anySystem(gzipSync(file("pyodide.asm.wasm"), { level: 9 })).toString("base64"),
  pack: file("python.zst").toString("base64"),
  wheels: Object.fromEntries(wheels),
};

const LOCK = `export * as loader from "./pyodide.mjs";
export * as script from "./pyodide.asm.mjs";
export const lock = ${JSON.stringify(lock)};`;
// A classic script: browsers load no module worker from a blob: address of a page without an origin (file:, sandboxed frames).
const inside = await build({
  ...WORKER,
  format: "iife",
  entryPoints: [join(worker, "worker.js")],
  plugins: [pyodideInside(join(worker, "single", "own-files.js")), made(/^\.\/lock\.js$/, LOCK)],
  write: false,
});
const script = inside.outputFiles[0].text;
const contents = `export const script = ${JSON.stringify(script)};\nexport const parts = ${JSON.stringify(parts)};`;

const outside = {
  name: "the worker inside",
  setup({ onResolve }) {
    onResolve({ filter: /^\.\/worker-script\.js$/ }, () => ({ path: join(page, "worker-script.js") }));
  },
};
const whole = {
  ...OPTIONS,
  entryPoints: [join(page, "index.js")],
  plugins: [outside, made(/^\.\/contents\.js$/, contents)],
};
await build({ ...whole, outfile: join(dist, "single", "smolmix.js") });
await build({ ...whole, format: "iife", globalName: "smolmix", outfile: join(dist, "single", "smolmix.classic.js") });
