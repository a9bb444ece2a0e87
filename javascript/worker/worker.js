/**
 * Entry of the module worker: starts Pyodide from our own distribution and hands every message to
 * the Python side. It decides nothing itself.
 *
 * @module
 */

import { createCrypto } from "./crypto/index.js";
import { createDirectory } from "./directory.js";
import { giveErrorsStacks } from "./error-stacks.js";
import { createGuard } from "./guard.js";
import { createAlarm, listen } from "./host.js";
import { watchLoading } from "./loading.js";
import { mark } from "./marks.js";
import { distribution } from "./own-files.js";
import { createKeeper, createOwnStorage } from "./own-storage.js";
import { PartError, textOf } from "../shared/parts.js";
import { startPython } from "./runtime.js";
import { dropSnapshots, findSnapshot, keepSnapshot } from "./snapshot.js";
import { createStorage } from "./storage.js";
import { TabClients } from "./tab-clients.js";

/** @typedef {import("../shared/messages.js").PageMessage} PageMessage */
/** @typedef {import("../shared/messages.js").WorkerMessage} WorkerMessage */

/** After set-up the first requests of the page come first: so long, or half as long as the start took. */
const KEEP_AFTER_MS = 3_000;

giveErrorsStacks();
const { base } = distribution;
const parts = watchLoading(distribution, (loading) => self.postMessage({ type: "loading", loading }));
const guard = createGuard(self, distribution.files, (text) => self.postMessage({ type: "log", level: "error", code: "blocked_request", text }));
const directory = createDirectory(guard);

mark("script");
self.postMessage({ type: "started" });

/** @type {((message: PageMessage) => void) | null} */
let receive = null;
/** @type {PageMessage[]} */
const early = [];
/** @type {(snapshot: boolean) => void} */
let begin = () => {};
/** The page's first message: whether snapshots are wanted. @type {Promise<boolean>} */
const wanted = new Promise((resolve) => { begin = resolve; });

/** What the page's own place answers. */
const keeper = createKeeper((message) => self.postMessage(message));

/** Of a tunnel that tabs share. @type {TabClients | null} */
let clients = null;

/** @param {PageMessage} message for Python, once it runs */
function take(message) {
  if (receive) receive(message);
  else early.push(message);
}

addEventListener("message", ({ data }) => {
  if (data.type === "boot") begin(data.snapshot);
  else if (data.type === "share") clients = new TabClients(data.lead, take, (message) => self.postMessage(message));
  else if (data.type === "tab") clients?.attach(data.port);
  else if (data.type === "kept") keeper.receive(data);
  else {
    if (data.type === "setup" && !receive) directory.begin(data.options);
    take(data);
  }
});

/** What is to be done once the tunnel is up. @type {(() => void) | null} */
let whenReady = null;
let starting = true;

/** @param {WorkerMessage} message */
function post(message, /** @type {Transferable[]} */ transfer = []) {
  if (!clients?.post(message, transfer)) self.postMessage(message, transfer);
  if (!starting || message.type !== "state") return;
  const { state, step } = message.snapshot;
  mark(step ?? state);
  starting = state === "connecting";
  if (state === "ready" && whenReady) setTimeout(whenReady, Math.max(KEEP_AFTER_MS, performance.now() / 2));
  if (!starting) whenReady = null; // it holds a copy of Python's memory
}

/**
 * Python with our code imported: from the memory of an earlier visit, or anew, and then its memory is kept if wanted.
 * @returns {Promise<{pyodide: import("./runtime.js").Pyodide, restored: boolean}>}
 */
async function python() {
  let restored = false, name = "";
  const start = (/** @type {boolean} */ look) => startPython(parts, async (build) => {
    name = build;
    if (!(await wanted)) return {};
    const snapshot = look ? await findSnapshot(base, build) : null;
    restored = snapshot !== null;
    if (!snapshot) return { options: { _makeSnapshot: true } };
    return { options: { _loadSnapshot: mark("found", snapshot.memory) }, library: snapshot.library };
  });
  const { pyodide, library } = await start(true).catch(async (error) => {
    if (!restored) throw error;
    await dropSnapshots();
    return start(false);
  });
  if (restored) return { pyodide, restored };
  pyodide.pyimport("smolmix_web.bridge.preload").destroy();
  mark("imports");
  if (await wanted) {
    try {
      const snapshot = mark("snapshot", pyodide.makeMemorySnapshot());
      whenReady = () => void keepSnapshot(base, name, snapshot, library);
    } catch {
      // There is no memory for a copy of Python's: then this visit goes without.
    }
    // While one is made Python sees the worker's globals through proxies.
    pyodide.registerJsModule("js", self);
  }
  return { pyodide, restored };
}

async function boot() {
  const [{ pyodide, restored }, crypto] = await Promise.all([
    python(), createCrypto().then((made) => mark("crypto", made)),
  ]);
  // A fatal error of the interpreter (a Rust panic, a failed allocation) may strike where no exception leaves the worker.
  pyodide._api.on_fatal = (error) => post({ type: "crashed", message: `Python stopped: ${error}` });
  pyodide.registerJsModule("smolmix_crypto", crypto);
  const takeOver = () => clients?.takeOver ?? false, storage = createStorage(takeOver);
  pyodide.registerJsModule("smolmix_storage", { ...storage, own: createOwnStorage(storage, keeper.ask, takeOver) });
  pyodide.registerJsModule("smolmix_guard", guard);
  pyodide.registerJsModule("smolmix_host", { createAlarm, listen });
  pyodide.registerJsModule("smolmix_answer", { ask: directory.ask });
  const bridge = pyodide.pyimport("smolmix_web.bridge.worker");
  receive = bridge.start(post, restored);
  bridge.destroy();
  mark("bridge");
  for (const message of early.splice(0)) receive?.(message);
  post({ type: "booted" });
}

boot().catch((error) => {
  const [message, reason] = error instanceof PartError ? [error.message, error.reason] : [textOf(error), null];
  post({ type: "boot-failed", message: `the tunnel's code did not start: ${message}`, reason });
});
