/**
 * The command line by npm: `npx smolmix-web fetch URL`. Options, output and exit codes are those of the Python command
 * (docs/command-line.md); it has the commands that need nothing but the API.
 *
 * @module
 */

import { readFileSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";
import { MixError, MixTunnel } from "../../page/index.js";
import { COMMANDS } from "./commands.js";
import { PLACE } from "./proxy.js";

/** @typedef {import("./commands.js").Values} Values */

const PROGRAM = "smolmix-web";
const EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130;
const TIMEOUT_S = 300;
const RATES = ["auto", "1", "1/2", "1/4", "1/8", "1/16"];
const STRING = { type: /** @type {const} */ ("string") }, FLAG = { type: /** @type {const} */ ("boolean") };
const MANY = { ...STRING, multiple: true };
const TUNNEL = {
  directory: MANY, ipr: STRING, gateway: STRING, ca: STRING, "no-tls": FLAG, "no-poisson": FLAG, "no-cover": FLAG,
  "traffic-rate": STRING, "client-id": STRING, "storage-passphrase-file": STRING, timeout: STRING, json: FLAG, quiet: FLAG,
  help: { ...FLAG, short: "h" },
};
const HELP = `usage: ${PROGRAM} COMMAND [options]

  fetch URL     HTTP or HTTPS request; the body goes to stdout
                -X METHOD, -H "NAME: VALUE", -d DATA, -o FILE
  dns NAME      addresses, or records of another type: --type TYPE, --family 4|6, --server PLACE
  ws URL        send stdin's lines as text messages and print the answers: -m MESSAGE (may be repeated)
  proxy         SOCKS5 for other programs, until Ctrl-C: --socks=ADDRESS:PORT (127.0.0.1:1080),
                --anywhere, --credentials-file FILE, --max-connections N

tunnel: --directory URL, --ipr ADDRESS, --gateway ID, --ca FILE, --no-tls, --no-poisson, --no-cover, --traffic-rate RATE,
  --client-id NAME, --storage-passphrase-file FILE, --timeout S (${TIMEOUT_S}), --json, --quiet

exit codes: 0 done; 1 it failed (one line on stderr says why, with --json also an object with \`error\` on stdout);
2 the command line is wrong; 130 interrupted
The Python command has more (udp, tcp, ping, listen, send, stream, an HTTP and a DNS proxy).`;

/** @param {string} message @returns {MixError} */
const usage = (message) => new MixError({ name: "UsageError", code: "bad_arguments", phase: null, message });

/** @param {string} path @returns {string} */
const firstLine = (path) => readFileSync(path, "utf8").split(/\r?\n/, 1)[0];

/** @param {Values} values @returns {import("../../page/tunnel.js").SetupMixTunnelOpts} */
function tunnelOptions(values) {
  const given = {
    directoryUrls: values.directory,
    preferredIpr: values.ipr,
    preferredGateway: values.gateway,
    forceTls: !values["no-tls"],
    disablePoissonTraffic: Boolean(values["no-poisson"]),
    disableCoverTraffic: Boolean(values["no-cover"]),
    trafficRate: values["traffic-rate"] ?? "auto",
    clientId: values["client-id"],
    storagePassphrase: values["storage-passphrase-file"] && firstLine(values["storage-passphrase-file"]),
    caCertificates: values.ca && readFileSync(values.ca, "utf8"),
  };
  return /** @type {any} */ (Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)));
}

/**
 * @param {string[]} words
 * @returns {{command: import("./commands.js").Command, values: Values, places: string[]} | null} null: help
 */
function read(words) {
  const [name, ...rest] = words;
  if (name === undefined) throw usage(`a command is missing (${PROGRAM} --help)`);
  if (name === "--help" || name === "-h") return null;
  if (!Object.hasOwn(COMMANDS, name)) throw usage(`there is no command ${name} (${PROGRAM} --help)`);
  const command = COMMANDS[name];
  let parsed;
  try {
    // Alone it stands for its usual place.
    const args = rest.map((word, at) => (word === "--socks" && !/^[^-]/.test(rest[at + 1] ?? "") ? `--socks=${PLACE}` : word));
    parsed = parseArgs({ args, options: { ...TUNNEL, ...command.options }, allowPositionals: true });
  } catch (error) {
    throw usage(`${error instanceof Error ? error.message : error} (${PROGRAM} --help)`);
  }
  const values = /** @type {Values} */ (parsed.values);
  if (values.help) return null;
  if (parsed.positionals.length !== command.places) {
    throw usage(`${name} takes ${command.places || "no"} argument${command.places === 1 ? "" : "s"} (${PROGRAM} --help)`);
  }
  const seconds = Number(values.timeout ?? TIMEOUT_S);
  if (!(seconds > 0)) throw usage("--timeout is a number of seconds");
  const rate = values["traffic-rate"] ?? RATES[0];
  if (!RATES.includes(rate)) throw usage(`--traffic-rate is one of ${RATES.join(", ")}`);
  command.check?.(values);
  return { command, values, places: parsed.positionals };
}

/**
 * @template T
 * @param {Promise<T>} work @param {number} seconds
 * @returns {Promise<T>}
 */
async function within(work, seconds) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const late = new Promise((_, reject) => {
    const error = new MixError({ name: "TimeoutExpired", code: "timeout", phase: "total", message: `not done in ${seconds} s` });
    timer = setTimeout(() => reject(error), seconds * 1000);
  });
  try {
    return await /** @type {Promise<T>} */ (Promise.race([work, late]));
  } finally {
    clearTimeout(timer);
  }
}

/** @param {string[]} words @returns {Promise<number>} */
async function run(words) {
  const asked = read(words);
  if (!asked) {
    console.log(HELP);
    return 0;
  }
  const { command, values, places } = asked;
  const tunnel = new MixTunnel(tunnelOptions(values));
  if (!values.quiet) {
    tunnel.addEventListener("state", ({ detail: { state, step } }) => console.error(`tunnel ${state}${step ? `: ${step}` : ""}`));
  }
  const limit = Number(values.timeout ?? TIMEOUT_S), began = performance.now();
  /** @type {() => void} */
  let interrupt = () => {};
  const interrupted = new Promise((resolve) => { interrupt = () => resolve(EXIT_INTERRUPTED); });
  process.once("SIGINT", interrupt);
  const work = async () => {
    await within(tunnel.setup(), limit);
    const setup_ms = Math.round(performance.now() - began);
    const doing = command.run(tunnel, values, places);
    const result = await (command.endless ? doing : within(doing, limit - (performance.now() - began) / 1000));
    if (values.json) console.log(JSON.stringify({ ...result, setup_ms }));
    return 0;
  };
  try {
    return await (command.endless ? work() : Promise.race([work(), interrupted]));
  } finally {
    process.off("SIGINT", interrupt);
    await tunnel.disconnect();
  }
}

/** @param {unknown} error @returns {MixError} */
function typed(error) {
  if (error instanceof MixError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const wrong = error instanceof TypeError && !("cause" in error && error.cause);
  return new MixError({ name: wrong ? "UsageError" : "SmolmixError", code: wrong ? "bad_arguments" : "system", phase: null, message });
}

const words = process.argv.slice(2);
try {
  process.exitCode = await run(words);
} catch (error) {
  const { kind: name, code, phase, message, reason, retryable } = typed(error);
  if (words.includes("--json")) console.log(JSON.stringify({ error: { name, code, phase, message, reason, retryable } }));
  console.error(`${PROGRAM}: ${code}${phase ? ` [${phase}]` : ""}: ${message}`);
  process.exitCode = ["UsageError", "OptionError"].includes(name) ? EXIT_USAGE : EXIT_FAILED;
}
