/**
 * A Nym network on this machine for tests of one's own program: the project's `localnet`, which is Python, started and
 * stopped from JavaScript.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";

/**
 * @typedef {object} LocalnetOptions
 * @property {string} [checkout] folder of a checkout of the project; default: $SMOLMIX_CHECKOUT, or this one
 * @property {string} [python] default: the checkout's `.venv`, made by `build.py setup`
 * @property {string[]} [args] switches of `python -m localnet`
 * @property {number} [timeout] milliseconds until it runs; default 60000
 */

/**
 * @typedef {object} LocalnetParts
 * @property {import("../page/tunnel.js").SetupMixTunnelOpts} options of a tunnel through it: for `setupMixTunnel`
 * @property {string} ca its certificates, as PEM: for `ca` of an agent's TLS
 * @property {Record<string, any>} endpoints what `python -m localnet --json` prints
 * @property {() => Promise<void>} stop
 */

/** `await using` stops it. @typedef {LocalnetParts & AsyncDisposable} Localnet */

const STARTING_MS = 60_000, STOPPING_MS = 5_000;

/** @param {string} text @returns {Error} */
const missing = (text) => Object.assign(new Error(`the local network cannot be started: ${text}`), { code: "localnet_missing" });

/** @param {LocalnetOptions} options */
function placeOf({ checkout = process.env.SMOLMIX_CHECKOUT, python }) {
  const folder = resolve(checkout ?? ".");
  if (!existsSync(join(folder, "localnet", "__main__.py"))) {
    throw missing(`${folder} is no checkout of smolmix-web, whose localnet/ it is; the option checkout or $SMOLMIX_CHECKOUT says where one is`);
  }
  const own = process.platform === "win32" ? ["Scripts", "python.exe"] : ["bin", "python"];
  const chosen = python ?? join(folder, ".venv", ...own);
  if (python === undefined && !existsSync(chosen)) {
    throw missing(`${chosen} is not there; \`python3 build.py setup\` in ${folder} makes it (Python 3.11 or newer)`);
  }
  return { folder, chosen };
}

/**
 * Start one. Rejects with what is missing, code `localnet_missing`, where it cannot.
 * @param {LocalnetOptions} [options]
 * @returns {Promise<Localnet>}
 */
export async function startLocalnet(options = {}) {
  const { folder, chosen } = placeOf(options);
  const child = spawn(chosen, ["-m", "localnet", "--json", ...(options.args ?? [])], {
    cwd: folder, stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text) => { said = (said + text).slice(-4000); });
  const ended = new Promise((done) => child.once("close", done));
  const kill = () => void child.kill("SIGKILL");
  process.once("exit", kill); // it serves nobody else
  const stop = async () => {
    process.off("exit", kill);
    child.kill("SIGTERM");
    const late = setTimeout(kill, STOPPING_MS);
    await ended;
    clearTimeout(late);
  };
  const lines = createInterface({ input: child.stdout });
  const limit = options.timeout ?? STARTING_MS;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  try {
    const line = await new Promise((done, fail) => {
      timer = setTimeout(() => fail(missing(`it did not run in ${limit / 1000} s`)), limit);
      lines.once("line", done);
      child.once("error", (error) => fail(missing(`${chosen}: ${error.message}`)));
      void ended.then((code) => fail(missing(`it ended with ${code}: ${said.trim().split("\n").at(-1) ?? ""}`)));
    });
    const endpoints = JSON.parse(line);
    const ca = await readFile(endpoints.ca, "utf8");
    const given = { directoryUrls: [endpoints.directory], forceTls: false, caCertificates: ca };
    return { options: given, ca, endpoints, stop, [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stop();
    throw error;
  } finally {
    clearTimeout(timer);
    lines.removeAllListeners("line");
  }
}
