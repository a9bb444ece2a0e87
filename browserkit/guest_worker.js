/**
 * A worker of somebody else's page that runs Python: `{code, globals}` in, `{value}` or `{error}` out.
 *
 * @module
 */

/** @type {Promise<any> | null} */
let starting = null;

async function start() {
  const { loadPyodide } = await import(new URL("./pyodide/pyodide.mjs", import.meta.url).href);
  return loadPyodide({ indexURL: new URL("./pyodide/", import.meta.url).href });
}

self.addEventListener("message", async ({ data: { code, globals, plain, reply } }) => {
  try {
    const pyodide = await (starting ??= start());
    for (const [name, value] of Object.entries(globals ?? {})) pyodide.globals.set(name, pyodide.toPy(value));
    // `plain`: in a way that cannot be suspended.
    const value = plain ? pyodide.runPython(code) : await pyodide.runPythonAsync(code);
    reply.postMessage({ value: value?.toJs ? value.toJs({ dict_converter: Object.fromEntries }) : value });
  } catch (error) {
    reply.postMessage({ error: String(error) });
  }
});
