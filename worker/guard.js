/**
 * The leak guard: the one place through which anything leaves the worker.
 *
 * Before any other code runs, every interface of the worker's global that can reach a network is replaced. What is left:
 * `fetch` for the worker's own files, and the two functions that `createGuard` returns, which only the host of the tunnel
 * holds: a GET below the directory's addresses, which are set once, and the WebSocket to the gateway. Everything else
 * throws `BlockedRequest` and is counted. There is no way to switch the guard off, also not after a failure.
 *
 * It stops code that forgets where it runs, such as a library that opens a connection of its own. Against hostile code a
 * page needs a Content-Security-Policy as well: `import()` cannot be replaced (docs/leak-guard.md says which policy).
 *
 * @module
 */

/** Constructors that open connections, by their global name; not every browser has all of them. */
const INTERFACES = [
  "EventSource", "FontFace", "Notification", "RTCPeerConnection", "SharedWorker", "WebSocket", "WebSocketStream",
  "WebTransport", "Worker", "XMLHttpRequest",
];
/** Methods that do, by their class. @type {[string, string][]} */
const METHODS = [
  ["Cache", "add"], ["Cache", "addAll"], ["BackgroundFetchManager", "fetch"], ["ServiceWorkerContainer", "register"],
  ["WorkerNavigator", "sendBeacon"],
];

/** Code in the worker asked for something that it may not ask for. */
export class BlockedRequest extends Error {
  /** @param {string} api @param {string} what */
  constructor(api, what) {
    super(`${api} was stopped by the leak guard: ${what}`);
    this.name = "BlockedRequest";
    this.code = "blocked_request";
  }
}

/**
 * Puts a value in the place of a property wherever the prototype chain of `owner` has it, for good.
 * @param {any} owner @param {string} name @param {unknown} value
 */
function replace(owner, name, value) {
  for (let at = owner; at; at = Object.getPrototypeOf(at)) {
    if (Object.hasOwn(at, name)) Object.defineProperty(at, name, { value, writable: false, configurable: false });
  }
}

/**
 * Replaces the interfaces of `scope` and returns the two ways out.
 *
 * @param {any} scope the worker's global
 * @param {readonly string[]} files addresses of the worker's own files, and of folders with them, which end in "/"
 */
export function createGuard(scope, files) {
  const nativeFetch = scope.fetch.bind(scope);
  const NativeWebSocket = scope.WebSocket;
  /** @type {readonly string[] | null} */
  let directories = null;
  let stopped = 0;

  /** @param {string} api @param {string} what @returns {BlockedRequest} */
  function blocked(api, what) {
    stopped += 1;
    const error = new BlockedRequest(api, what);
    scope.console.error(`smolmix: ${error.message}`);
    return error;
  }

  /** @param {string} url @returns {boolean} */
  const own = (url) => files.some((file) => (file.endsWith("/") ? url.startsWith(file) : url === file));

  /** @param {string | URL | Request} input @param {RequestInit} [init] @returns {Promise<Response>} */
  async function guardedFetch(input, init) {
    const request = new scope.Request(input, init);
    // blob: and data: never leave the worker.
    if (own(request.url)) return nativeFetch(new scope.Request(request, { redirect: "error" }));
    if (/^(blob|data):/.test(request.url)) return nativeFetch(request);
    throw blocked("fetch", `${new URL(request.url).origin} is not a place of the worker's own files`);
  }

  replace(scope, "fetch", guardedFetch);
  for (const name of INTERFACES) {
    if (typeof scope[name] !== "function") continue;
    // A plain function can be called and constructed.
    const refuse = function () { throw blocked(name, "nothing in this worker may use it"); };
    const { prototype } = scope[name];
    if (prototype) {
      refuse.prototype = prototype; // for `instanceof`
      Object.defineProperty(prototype, "constructor", { value: refuse, writable: false, configurable: false });
    }
    replace(scope, name, refuse);
  }
  for (const [owner, name] of METHODS) {
    if (typeof scope[owner]?.prototype?.[name] !== "function") continue;
    replace(scope[owner].prototype, name, () => { throw blocked(`${owner}.${name}`, "nothing in this worker may use it"); });
  }

  // Some bundlers make a classic worker, which loads scripts with it. In a module worker it throws by itself.
  try {
    scope.importScripts();
    replace(scope, "importScripts", () => { throw blocked("importScripts", "nothing in this worker may use it"); });
  } catch {
    // a module worker
  }

  return {
    /** Where the directory is: base addresses ending in "/". Once for each worker. @param {string[]} urls */
    setDirectories(urls) {
      if (directories) throw new Error("the directories of this worker are set already");
      directories = Object.freeze([...urls].map((url) => new URL(url).href));
    },

    /**
     * GET of a directory's document: without credentials, referrer, cache or redirect.
     * @param {string} url @param {AbortSignal} signal
     * @returns {Promise<Response>}
     */
    async fetchDirectory(url, signal) {
      const { href } = new URL(url);
      if (!directories?.some((base) => href.startsWith(base))) {
        throw blocked("fetchDirectory", `${new URL(href).origin} is no directory of this tunnel`);
      }
      return nativeFetch(href, {
        signal, credentials: "omit", referrerPolicy: "no-referrer", redirect: "error", cache: "no-store",
      });
    },

    /**
     * The WebSocket to the gateway.
     * @param {string} url as the directory's documents give it: ws or wss, host and port, nothing else
     * @returns {WebSocket}
     */
    openGateway(url) {
      const { protocol, host, href } = new URL(url);
      if (!/^wss?:$/.test(protocol) || href !== `${protocol}//${host}/`) {
        throw blocked("openGateway", "a gateway's address is a host and a port");
      }
      return new NativeWebSocket(href);
    },

    /** How many requests were stopped. @returns {number} */
    stopped() {
      return stopped;
    },
  };
}
