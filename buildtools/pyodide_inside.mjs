// The worker with Pyodide's scripts inside it: a plugin of esbuild, for the builds where they are no files of their own.
//
// Some module takes the place of javascript/worker/own-files.js. Pyodide's scripts are loaded without what they do
// under Node: bundlers follow `import("node:fs")` and `import("ws")`, and a page never comes there.
import { readFileSync } from "node:fs";
import { parse } from "acorn";

const NOWHERE = "smolmixNowhere";
// Some bundlers make a classic worker of ours, in which Pyodide refuses to load its scripts. They are inside already.
const NOT_CLASSIC = '(() => { throw new TypeError("no scripts are loaded"); })';
const PRELUDE = `const ${NOWHERE} = () => Promise.reject(new Error("this package is for browsers"));\n`;

/** Every node of a syntax tree. */
function* nodesOf(node) {
  if (Array.isArray(node)) for (const inner of node) yield* nodesOf(inner);
  if (typeof node?.type !== "string") return;
  yield node;
  for (const child of Object.values(node)) if (typeof child === "object") yield* nodesOf(child);
}

/** `import(...)` goes nowhere, `import.meta` has an address of nothing. @param {string} text */
function forBrowsers(text) {
  const changes = [];
  for (const node of nodesOf(parse(text, { ecmaVersion: "latest", sourceType: "module" }))) {
    if (node.type === "ImportExpression") changes.push([node.start, node.start + "import".length, NOWHERE]);
    const called = node.type === "CallExpression" && node.callee.type === "MemberExpression" ? node.callee : null;
    if (called?.property.name === "importScripts") changes.push([called.start, called.end, NOT_CLASSIC]);
    if (node.type === "MetaProperty") changes.push([node.start, node.end, '({url:"https://invalid/"})']);
  }
  changes.sort((a, b) => b[0] - a[0]);
  for (const [start, end, replacement] of changes) text = text.slice(0, start) + replacement + text.slice(end);
  return PRELUDE + text;
}

/** @param {string} parts path of the module in the place of javascript/worker/own-files.js */
export const pyodideInside = (parts) => ({
  name: "pyodide inside",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /\/own-files\.js$/ }, () => ({ path: parts }));
    onLoad({ filter: /pyodide(\.asm)?\.mjs$/ }, ({ path }) => ({ contents: forBrowsers(readFileSync(path, "utf8")) }));
  },
});

export const OPTIONS = {
  bundle: true, format: "esm", platform: "browser", target: "es2022", minify: true, legalComments: "eof", logLevel: "warning",
};

// What some bundlers put a library in for, wherever the name stands.
const ABSENT = { process: "undefined", Buffer: "undefined", global: "globalThis", __dirname: '"/"', __filename: '"/"' };
export const WORKER = { ...OPTIONS, define: ABSENT };
