// Bundles the worker for a package: Pyodide's scripts inside it, the other parts as `PARTS.js` says.
// Usage: node package_worker.mjs WORKER.js PARTS.js OUTFILE
import { build } from "esbuild";
import { WORKER, pyodideInside } from "./pyodide_inside.mjs";

const [entry, parts, outfile] = process.argv.slice(2);

await build({ ...WORKER, entryPoints: [entry], outfile, plugins: [pyodideInside(parts)] });
