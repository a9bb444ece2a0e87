// Runs buildtools/bytecode.py in the very Pyodide that is shipped, under Node.
// Usage: node bytecode.mjs PYODIDE_FOLDER JOBS.json, jobs: [{source, target, location}] with absolute folders.
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const [, , pyodideFolder, jobsFile] = process.argv;
const { loadPyodide } = await import(pathToFileURL(join(pyodideFolder, "pyodide.mjs")).href);
const pyodide = await loadPyodide({
  indexURL: pyodideFolder + "/",
  env: { PYTHONNODEBUGRANGES: "1", PYTHONHASHSEED: "0" },
});
const jobs = JSON.parse(readFileSync(jobsFile, "utf8"));
pyodide.runPython(readFileSync(join(dirname(fileURLToPath(import.meta.url)), "bytecode.py"), "utf8"));
const compileTree = pyodide.globals.get("compile_tree");
jobs.forEach((job, index) => {
  pyodide.mountNodeFS(`/source${index}`, job.source);
  pyodide.mountNodeFS(`/target${index}`, job.target);
  compileTree(`/source${index}`, `/target${index}`, job.location);
});
