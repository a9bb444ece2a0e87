// Bundles what Node.js, Deno and Bun load: the entries of the page and those of their own, and the worker.
// Usage: node node_package.mjs JAVASCRIPT PARTS.js FOLDER
//
// Some modules of the browser have another one in their place (javascript/node/). Entries share one tunnel: what one needs
// of the API it imports from `index.js` beside it.
import { builtinModules } from "node:module";
import { basename, join } from "node:path";
import { OPTIONS, WORKER, pyodideInside } from "./pyodide_inside.mjs";
import { build } from "esbuild";

const [sources, parts, folder] = process.argv.slice(2);
const node = join(sources, "node");

/** @param {Record<string, string>} modules what stands in the place of a module of that name */
const inPlace = (modules) => ({
  name: "in place",
  setup({ onResolve }) {
    onResolve({ filter: /^\.\.?\// }, ({ path, importer }) => {
      const other = modules[basename(path)];
      return other && importer !== other ? { path: other } : null;
    });
  },
});
const PAGE = inPlace({ "worker-script.js": join(node, "worker-script.js"), "tab-worker.js": join(node, "tab-worker.js") });
const COMMON = { target: "es2022", external: ["node:*", ...builtinModules] };
// Node.js shows the line of an error that nobody has caught: one of a bundle on one line would fill the screen.
const READABLE = { minify: false };

const ENTRIES = [
  ...["index", "globals", "auto"].map((name) => [name, join(sources, "page", `${name}.js`)]),
  ["node", join(node, "node.js")],
  ["cli", join(node, "cli", "main.js")],
  ...["mix-tunnel", "mix-fetch", "mix-dns", "mix-websocket"].map((name) => [`official/${name}`, join(sources, "page", "official", `${name}.js`)]),
];
/** Of the entries that share their state: each is a file of its own, by its place from the one that asks. */
const apart = (name) => ({
  name: "apart",
  setup({ onResolve }) {
    onResolve({ filter: /\/(index|mix-tunnel)\.js$/ }, ({ path, kind }) => {
      const file = basename(path), place = file === "index.js" && name.includes("/") ? "../" : "./";
      return kind === "entry-point" ? null : { path: place + file, external: true };
    });
  },
});

for (const [name, entry] of ENTRIES) {
  await build({
    ...OPTIONS, ...COMMON, ...READABLE, plugins: [apart(name), PAGE],
    inject: [join(node, "missing.js")], entryPoints: [entry], outfile: join(folder, `${name}.js`),
    ...(name === "cli" ? { banner: { js: "#!/usr/bin/env node" } } : {}),
  });
}
// By these Pyodide would know where it is; to it this is a worker of a browser.
const HIDDEN = Object.fromEntries(["Deno", "Bun", "require", "module", "exports"].map((name) => [name, "undefined"]));
await build({
  ...WORKER, ...COMMON, define: { ...WORKER.define, ...HIDDEN }, plugins: [pyodideInside(parts), inPlace({ "storage.js": join(node, "worker", "storage.js") })],
  entryPoints: [join(node, "worker", "entry.js")], outfile: join(folder, "worker.js"),
});
