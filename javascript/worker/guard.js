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
  ["Navigator", "sendBeacon"], ["WorkerNavigator", "sendBeacon"],
];

/** Addresses that never leave the machine. */
const LOCAL = /^(blob|data):/;

/** Code in the worker asked for something that it may not ask for. */
export class BlockedRequest extends Error {
  /** @param {string} api @param {string} what */
  constructor(api, what) {
    super(`${api} was stopped by the leak guard: ${what}`);
    this.name = "BlockedRequest";
    this.code = "blocked_request";
  }
}

/** @typedef {(api: string, what: string) => Error} Refusal makes the error of a request that is stopped */

/**
 * The two ways out, by the functions that `scope` has now.
 *
 * @param {any} scope the global object
 * @param {Refusal} [refuse]
 */
export function createDoors(scope, refuse = (api, what) => new BlockedRequest(api, what)) {
  const nativeFetch = scope.fetch.bind(scope);
  const NativeWebSocket = scope.WebSocket;
  /** @type {readonly string[] | null} */
  let directories = null;

  return {
    /** Where the directory is: base addresses ending in "/". They stay the same ones. @param {string[]} urls */
    setDirectories(urls) {
      const given = [...urls].map((url) => new URL(url).href);
      directories ??= Object.freeze(given);
      if (directories.join(" ") !== given.join(" ")) throw new Error("the directories are set already");
    },

    /**
     * GET of a directory's document: without credentials, referrer, cache or redirect.
     * @param {string} url @param {AbortSignal} signal
     * @returns {Promise<Response>}
     */
    async fetchDirectory(url, signal) {
      const { href } = new URL(url);
      if (!directories?.some((base) => href.startsWith(base))) {
        throw refuse("fetchDirectory", `${new URL(href).origin} is no directory of this tunnel`);
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
        throw refuse("openGateway", "a gateway's address is a host and a port");
      }
      return new NativeWebSocket(href);
    },
  };
}

/** @typedef {(owner: any, name: string, value: unknown) => void} Replace puts a value in the place of a property of its own */

/** @type {Replace} */
function replaceForGood(owner, name, value) {
  Object.defineProperty(owner, name, { value, writable: false, configurable: false });
}

/**
 * @param {(() => void)[]} undo what puts it back, the last first
 * @returns {Replace}
 */
function replaceUntil(undo) {
  return (owner, name, value) => {
    const before = Object.getOwnPropertyDescriptor(owner, name);
    if (!before?.configurable) return;
    Object.defineProperty(owner, name, { value, writable: true, configurable: true, enumerable: before.enumerable ?? false });
    undo.unshift(() => void Object.defineProperty(owner, name, before));
  };
}

/**
 * @param {any} owner @param {string} name
 * @returns {any[]} whoever has the property as its own, all along the prototype chain
 */
function holders(owner, name) {
  const found = [];
  for (let at = owner; at; at = Object.getPrototypeOf(at)) if (Object.hasOwn(at, name)) found.push(at);
  return found;
}

/**
 * Replaces every interface of `scope` that can reach a network.
 *
 * @param {any} scope the global object
 * @param {readonly string[]} files addresses that `fetch` may still ask, and of folders with such, which end in "/"
 * @param {Refusal} refuse
 * @param {Replace} replace
 */
function shut(scope, files, refuse, replace) {
  const nativeFetch = scope.fetch.bind(scope);

  /** @param {string} url @returns {boolean} */
  const own = (url) => files.some((file) => (file.endsWith("/") ? url.startsWith(file) : url === file));

  /** @param {string | URL | Request} input @param {RequestInit} [init] @returns {Promise<Response>} */
  async function guardedFetch(input, init) {
    const request = new scope.Request(input, init);
    if (own(request.url)) return nativeFetch(new scope.Request(request, { redirect: "error" }));
    if (LOCAL.test(request.url)) return nativeFetch(request);
    const { origin } = new URL(request.url);
    throw refuse("fetch", files.length === 0 ? "nothing here may use it" : `${origin} is not a place of the worker's own files`);
  }

  const everywhere = (/** @type {any} */ owner, /** @type {string} */ name, /** @type {unknown} */ value) => {
    for (const holder of holders(owner, name)) replace(holder, name, value);
  };
  everywhere(scope, "fetch", guardedFetch);
  for (const name of INTERFACES) {
    if (typeof scope[name] !== "function") continue;
    // A plain function can be called and constructed.
    const refused = function () { throw refuse(name, "nothing here may use it"); };
    const { prototype } = scope[name];
    if (prototype) {
      refused.prototype = prototype; // for `instanceof`
      // By this Node.js knows its event targets.
      if (scope.EventTarget && prototype instanceof scope.EventTarget) Object.setPrototypeOf(refused, scope.EventTarget);
      replace(prototype, "constructor", refused);
    }
    everywhere(scope, name, refused);
  }
  for (const [owner, name] of METHODS) {
    if (typeof scope[owner]?.prototype?.[name] !== "function") continue;
    everywhere(scope[owner].prototype, name, () => { throw refuse(`${owner}.${name}`, "nothing here may use it"); });
  }

  // A classic worker, as some bundlers make it, loads scripts with it. In a module worker it throws by itself.
  try {
    scope.importScripts();
    everywhere(scope, "importScripts", (/** @type {unknown[]} */ ...urls) => {
      // By this error Pyodide knows a module worker: in Firefox those come here too.
      if (urls.every((url) => LOCAL.test(`${url}`))) throw new TypeError("importScripts: no scripts are loaded here");
      throw refuse("importScripts", "nothing here may use it");
    });
  } catch {
    // no classic worker
  }
}

/**
 * Shuts everything else for good and returns the two ways out.
 *
 * @param {any} scope the global object
 * @param {readonly string[]} files addresses of the worker's own files, and of folders with them, which end in "/"
 * @param {(text: string) => void} [tell] of each request that is stopped
 */
export function createGuard(scope, files, tell = (text) => scope.console.error(`smolmix: ${text}`)) {
  let stopped = 0;

  /** @type {Refusal} */
  function blocked(api, what) {
    stopped += 1;
    const error = new BlockedRequest(api, what);
    tell(error.message);
    return error;
  }

  const doors = createDoors(scope, blocked);
  shut(scope, files, blocked, replaceForGood);
  return {
    ...doors,

    /** How many requests were stopped. @returns {number} */
    stopped() {
      return stopped;
    },
  };
}

/**
 * Shuts everything until the function that is returned is called.
 * @param {any} scope the global object
 * @returns {() => void}
 */
export function shutForAWhile(scope) {
  /** @type {(() => void)[]} */
  const undo = [];
  shut(scope, [], (api, what) => new BlockedRequest(api, what), replaceUntil(undo));
  return () => { for (const back of undo.splice(0)) back(); };
}
