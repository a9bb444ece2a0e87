/**
 * Stands in for Electron, whose program npm's package fetches from elsewhere: of its API what the examples use, by its
 * documentation (`electron.d.ts` of the same version; the examples are compiled with that). `protocol.handle` takes a request
 * apart and puts the answer together as Electron's own does (lib/browser/api/protocol.ts).
 *
 * `globalThis.standIn` is the test's: what was handled and asked for, and `request` asks as a window would.
 */

import { EventEmitter } from "node:events";
import { Readable } from "node:stream";

/** @type {Map<string, Map<string, (request: Request) => Response | Promise<Response>>>} */
const handlers = new Map();
const log = { schemes: [], windows: [], proxies: [], errors: [], quits: 0 };

class Session {
  constructor(partition) {
    this.partition = partition;
    const own = new Map();
    handlers.set(partition, own);
    this.protocol = { handle: (scheme, handler) => void own.set(scheme, handler) };
  }

  async setProxy(config) {
    log.proxies.push(config);
  }

  setPermissionRequestHandler(handler) {
    this.permission = handler;
  }
}

const sessions = new Map();
export const session = {
  fromPartition: (name) => sessions.get(name) ?? (sessions.set(name, new Session(name)), sessions.get(name)),
};

export const protocol = { registerSchemesAsPrivileged: (schemes) => void log.schemes.push(...schemes) };

export class BrowserWindow extends EventEmitter {
  constructor(options) {
    super();
    this.options = options;
    this.title = "";
    this.sent = [];
    this.webContents = Object.assign(new EventEmitter(), {
      session: options.webPreferences.session,
      send: (...message) => this.sent.push(message),
      setWebRTCIPHandlingPolicy: (policy) => { this.webRtc = policy; },
      setWindowOpenHandler: (handler) => { this.opens = handler; },
    });
    log.windows.push(this);
  }

  isDestroyed() {
    return false;
  }

  setTitle(title) {
    this.title = title;
  }

  async loadURL(url) {
    this.url = url;
    const { status, error } = await request(this.options.webPreferences.session.partition, url);
    if (error || status >= 400) throw new Error(`ERR_FAILED loading '${url}'`);
  }
}

export const powerMonitor = new EventEmitter();
export const dialog = { showErrorBox: (...texts) => void log.errors.push(texts) };
export const app = Object.assign(new EventEmitter(), { whenReady: async () => {}, quit: () => void (log.quits += 1) });

/** @param {string} partition @param {string} url @param {{method?: string, headers?: Record<string, string>, body?: string}} [given] */
async function request(partition, url, { method = "GET", headers = {}, body } = {}) {
  const handler = handlers.get(partition)?.get(new URL(url).protocol.slice(0, -1));
  if (!handler) return { error: "ERR_UNKNOWN_URL_SCHEME" };
  const stream = body === undefined ? null : Readable.toWeb(Readable.from([Buffer.from(body)]));
  const response = await handler(new Request(url, { method, headers, body: stream, ...(stream ? { duplex: "half" } : {}) }));
  if (response.type === "error") return { error: "ERR_FAILED" };
  const pieces = [];
  if (response.body) for await (const piece of Readable.fromWeb(response.body)) pieces.push(piece);
  return { status: response.status, headers: Object.fromEntries(response.headers), body: Buffer.concat(pieces) };
}

globalThis.standIn = { log, request, app, powerMonitor };
