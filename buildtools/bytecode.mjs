// Runs buildtools/bytecode.py in the very Pyodide that is shipped, under Node.
// Usage: node bytecode.mjs PYODIDE_FOLDER JOBS.json RESULT.json [MODULE FILE]
// Jobs: [{source, target, location}] with absolute folders. Result: {builtin: [module], imports: [per job]}. MODULE of
// the compiled trees is imported, and what its classes compile meanwhile goes to FILE in the last of them.
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

async function main(pyodideFolder, jobsFile, resultFile, module, file) {
  const { loadPyodide } = await import(pathToFileURL(join(pyodideFolder, "pyodide.mjs")).href);
  const pyodide = await loadPyodide({
    indexURL: pyodideFolder + "/",
    env: { PYTHONNODEBUGRANGES: "1", PYTHONHASHSEED: "0" },
  });
  const jobs = JSON.parse(readFileSync(jobsFile, "utf8"));
  pyodide.runPython(readFileSync(join(dirname(fileURLToPath(import.meta.url)), "bytecode.py"), "utf8"));
  const compileTree = pyodide.globals.get("compile_tree");
  const imports = jobs.map((job, index) => {
    pyodide.mountNodeFS(`/source${index}`, job.source);
    pyodide.mountNodeFS(`/target${index}`, job.target);
    return JSON.parse(compileTree(`/source${index}`, `/target${index}`, job.location));
  });
  if (module) {
    const targets = jobs.map((_, index) => `/target${index}`);
    pyodide.globals.get("write_classes")(pyodide.toPy(targets), module, `${targets.at(-1)}/${file}`);
  }
  const builtin = JSON.parse(pyodide.runPython("builtin_modules()"));
  writeFileSync(resultFile, JSON.stringify({ builtin, imports }));
}

// An uncaught error would print the line of pyodide.asm.mjs it came from, which is a megabyte long.
main(...process.argv.slice(2)).catch((error) => {
  console.error(String(error.message ?? error));
  process.exitCode = 1;
});
