/**
 * The page's side of a Service Worker that sends what the page loads through its tunnel (service/service-worker.js): it is
 * registered and told to control this page, and lent the tunnel, again and again: the browser stops it as it likes, a
 * release puts another one in its place, and a page may have another tunnel.
 *
 * @module
 */

import { followSharedTunnel } from "./index.js";
import { baseUrl } from "./base-url.js";
import { MixError } from "./errors.js";
import { unlessAborted } from "./signals.js";
import { pageLock, serviceWorkers, SPEECH } from "../shared/service.js";

/** @typedef {import("./tunnel.js").MixTunnel} MixTunnel */
/** @typedef {import("../shared/service.js").MixServiceCounts} MixServiceCounts */
/** @typedef {import("../shared/service.js").FromService} FromService */
/** @typedef {import("../shared/service.js").SaidToService} SaidToService */

/**
 * @typedef {object} MixServiceWorkerOptions
 * @property {string} [url] of the Service Worker's script, relative to the document; default "service-worker.js"
 * @property {string} [scope] default: the folder of the script
 * @property {"classic" | "module"} [type] default "classic"
 * @property {MixTunnel} [tunnel] default: the shared one, whichever it is
 * @property {number} [timeout] milliseconds until it controls this page; default 15000
 * @property {string | string[]} [match] these and the following go into the script's address, for our script as it is: beginnings of URLs
 * @property {"block" | "pass"} [fallback]
 * @property {"check" | "open"} [cors]
 * @property {"give" | "refuse"} [unreadable]
 * @property {string[]} [direct]
 * @property {number} [deadline] milliseconds
 */

/**
 * A request that the Service Worker has answered with an error of the network, and why.
 * @typedef {{url: string, destination: string, error: MixError}} MixRequestFailure
 */

/** "ready": requests go through; "waiting": they wait for the tunnel; "ended". @typedef {"ready" | "waiting" | "ended"} MixServiceState */

const TIMEOUT_MS = 15_000;
const LOOK_MS = 1_000;
/** Browsers stop a Service Worker that hears nothing for half a minute. */
const HERE_MS = 20_000;
const IN_ADDRESS = /** @type {const} */ (["match", "fallback", "cors", "unreadable", "direct", "deadline"]);
const OTHERS = ["url", "scope", "type", "tunnel", "timeout"];
const MOST_URLS = 10_000;
const UP = ["ready", "reconnecting", "suspended"];

/** @param {string} reason @param {string} message @param {boolean} [retryable] @returns {MixError} */
const refused = (reason, message, retryable = false) =>
  new MixError({ name: "ServiceError", code: "service_refused", phase: "service", message, reason, retryable });

/**
 * @param {URL} url @param {URL} scope @param {unknown} error what the browser says, each in its own words
 * @returns {Promise<MixError>}
 */
async function whyRefused(url, scope, error) {
  const said = error instanceof Error ? error.message : String(error);
  let response;
  try {
    response = await fetch(url, { cache: "no-store", signal: AbortSignal.timeout(LOOK_MS) });
    response.body?.cancel().catch(() => {});
  } catch {
    return refused("unreachable", `${url.pathname} cannot be loaded (${said})`, true);
  }
  const type = response.headers.get("content-type") ?? "nothing";
  if (!response.ok) return refused("missing", `${url.pathname}: the server answers with ${response.status}`);
  if (!/(java|ecma)script/i.test(type)) return refused("wrong_type", `${url.pathname}: the server calls it ${type}; it has to be text/javascript`);
  const widest = new URL(response.headers.get("service-worker-allowed") ?? "./", url).pathname;
  if (!scope.pathname.startsWith(widest)) return refused("scope", outside(scope, widest));
  return refused("blocked", `the browser refuses ${url.pathname}: ${said}`);
}

/** @param {URL} scope @param {string} widest @returns {string} */
const outside = (scope, widest) =>
  `a Service Worker there can control ${widest} and not ${scope.pathname}: serve its script further up, or with the header Service-Worker-Allowed`;

/** @param {MixServiceWorkerOptions} options @returns {URL} of the script, with what it is to do */
function addressOf(options) {
  for (const name of Object.keys(options)) {
    if (!OTHERS.includes(name) && !IN_ADDRESS.includes(/** @type {any} */ (name))) {
      throw new TypeError(`registerMixServiceWorker: there is no option ${name}`);
    }
  }
  const url = new URL(options.url ?? "service-worker.js", baseUrl());
  for (const name of IN_ADDRESS) {
    const given = options[name];
    if (given === undefined) continue;
    for (const one of Array.isArray(given) ? given : [given]) {
      if (typeof one !== "string" && typeof one !== "number") {
        throw new TypeError(`registerMixServiceWorker: ${name} goes into an address; mixRequests in a script of your own takes everything`);
      }
      url.searchParams.append(name, String(one));
    }
  }
  return url;
}

/**
 * @template T
 * @param {EventTarget} target @param {string} event
 * @param {() => T | null | undefined | false} look
 * @param {AbortSignal} signal
 * @returns {Promise<T>} what `look` finds, now or after one of the events
 */
function found(target, event, look, signal) {
  return new Promise((resolve, reject) => {
    const end = () => {
      target.removeEventListener(event, again);
      signal.removeEventListener("abort", late);
    };
    const late = () => (end(), reject(signal.reason));
    const again = () => {
      try {
        const value = look();
        if (value) (end(), resolve(value));
      } catch (error) {
        end();
        reject(error);
      }
    };
    target.addEventListener(event, again);
    signal.addEventListener("abort", late);
    if (signal.aborted) late();
    else again();
  });
}

/** Of this page, the last one. @type {MixServiceWorker | null} */
let current = null;
/** @returns {MixServiceWorker | null} */
export const currentService = () => current;

/** @typedef {{tunnel: MixTunnel, worker: string | null, ended: AbortController}} Lent */
/** @typedef {{state: CustomEvent<MixServiceState>, counts: CustomEvent<MixServiceCounts>, failed: CustomEvent<MixRequestFailure>}} MixServiceEvents */

/**
 * `EventTarget` that knows the events of a Service Worker of ours by name.
 * @typedef {object} MixServiceListening
 * @property {<K extends keyof MixServiceEvents>(type: K, listener: ((event: MixServiceEvents[K]) => void) | null,
 *   options?: boolean | AddEventListenerOptions) => void} addEventListener
 * @property {<K extends keyof MixServiceEvents>(type: K, listener: ((event: MixServiceEvents[K]) => void) | null,
 *   options?: boolean | EventListenerOptions) => void} removeEventListener
 */

const Target = /** @type {new () => MixServiceListening & EventTarget} */ (EventTarget);

/**
 * The Service Worker that controls this page. Events: "state" (`event.detail` is the new state), "counts" (the counts),
 * "failed" (a request that came to nothing).
 */
export class MixServiceWorker extends Target {
  #container = navigator.serviceWorker;
  /** @type {ServiceWorkerRegistration} */ #registration;
  #page = crypto.randomUUID();
  /** @type {MixTunnel | null} */ #tunnel = null;
  /** By the Service Worker that has it. @type {Map<ServiceWorker, Lent>} */ #lent = new Map();
  /** @type {MixServiceCounts} */ #counts = { requests: 0, bytes: 0, blocked: 0, passed: 0 };
  /** @type {MixServiceState} */ #state = "waiting";
  #open = 0;
  /** @type {Set<string>} */ #urls = new Set();
  #ended = new AbortController();
  /** Lets go of the lock that says that this page is here. */
  #letGo = () => {};
  #unfollow = () => {};
  #onState = () => this.#look();
  /** Who waits for the next answer to our introduction. @type {Set<(value: void) => void>} */ #listening = new Set();
  /** @internal @type {Promise<void>} */ heard = this.#answer();

  /**
   * @internal
   * @param {ServiceWorkerRegistration} registration
   * @param {MixTunnel | undefined} tunnel
   */
  constructor(registration, tunnel) {
    super();
    this.#registration = registration;
    const { signal } = this.#ended;
    this.#container.addEventListener("message", (event) => this.#receive(event), { signal });
    this.#container.startMessages();
    this.#container.addEventListener("controllerchange", () => this.#introduce(), { signal });
    window.addEventListener("pagehide", ({ persisted }) => persisted && this.#leave(), { signal });
    window.addEventListener("pageshow", ({ persisted }) => persisted && void this.#stay(), { signal });
    const here = setInterval(() => {
      if (this.#open > 0) this.#say(this.#container.controller, { type: "here" });
    }, HERE_MS);
    signal.addEventListener("abort", () => clearInterval(here));
    const follow = (/** @type {MixTunnel} */ next) => {
      this.#tunnel?.removeEventListener("state", this.#onState);
      this.#tunnel = next;
      next.addEventListener("state", this.#onState);
      this.#introduce();
    };
    void this.#stay().then(() => {
      if (tunnel) follow(tunnel);
      else this.#unfollow = followSharedTunnel(follow);
      this.#introduce();
    });
  }

  /** @returns {MixServiceState} */
  get state() {
    return this.#state;
  }

  /**
   * Since this page began: requests that its tunnel has carried for the Service Worker and bytes of their bodies; of its own
   * requests those that came to nothing (`blocked`) and those that `fallback: "pass"` let past the tunnel (`passed`).
   * @returns {MixServiceCounts}
   */
  get counts() {
    return { ...this.#counts };
  }

  /** @internal @param {string} url @returns {boolean} the Service Worker took it, so it went through a tunnel or nowhere */
  hasTaken(url) {
    return this.#urls.has(url);
  }

  /** @returns {Promise<void>} */
  #answer() {
    return new Promise((resolve) => { this.#listening.add(resolve); });
  }

  /** Resolves when the Service Worker has told what it knows, or does not answer. @internal @returns {Promise<void>} */
  async upToDate() {
    if (!this.#container.controller || this.#ended.signal.aborted) return;
    const answer = this.#answer();
    this.#introduce();
    await Promise.race([answer, new Promise((resolve) => setTimeout(resolve, LOOK_MS))]);
  }

  /** @param {ServiceWorker | null} worker @param {SaidToService} message @param {Transferable[]} [transfer] */
  #say(worker, message, transfer = []) {
    worker?.postMessage({ speech: SPEECH, ...message }, transfer);
  }

  /** Hold the lock, then say who we are. */
  async #stay() {
    await new Promise((granted) => {
      const held = new Promise((free) => { this.#letGo = () => free(undefined); });
      navigator.locks.request(pageLock(this.#page), () => (granted(undefined), held)).catch(granted);
    });
    this.#introduce();
  }

  #leave() {
    for (const [worker, { ended }] of this.#lent) {
      this.#say(worker, { type: "bye", page: this.#page });
      ended.abort();
    }
    this.#lent.clear();
    this.#letGo();
  }

  /** Say who we are, with the tunnel where the Service Worker does not have it. */
  #introduce() {
    const { controller } = this.#container;
    this.#look();
    if (!controller || this.#ended.signal.aborted) return;
    const message = /** @type {const} */ ({ type: "hello", page: this.#page, direct: this.#tunnel?.ownUrls ?? [] });
    const tunnel = this.#tunnel;
    const before = this.#lent.get(controller);
    if (!tunnel || before?.tunnel === tunnel) {
      this.#say(controller, message);
      return;
    }
    const ended = new AbortController();
    this.#lent.set(controller, { tunnel, worker: null, ended });
    this.#say(controller, message, [tunnel.share({ signal: ended.signal })]);
    before?.ended.abort();
    // One that gives way to another finishes what it has begun.
    if (!before) {
      controller.addEventListener("statechange", () => {
        if (controller.state !== "redundant") return;
        this.#lent.get(controller)?.ended.abort();
        this.#lent.delete(controller);
      }, { signal: this.#ended.signal });
    }
  }

  /** @param {MessageEvent} event */
  #receive({ data, source }) {
    if (data?.speech !== SPEECH) return;
    const message = /** @type {FromService} */ (data);
    const worker = /** @type {ServiceWorker} */ (source);
    const lent = this.#lent.get(worker);
    switch (message.type) {
      case "welcome":
        if (lent) lent.worker = message.worker;
        for (const resolve of this.#listening) resolve();
        this.#listening.clear();
        return;
      case "wanted":
        if (lent && lent.worker !== message.worker) {
          // It was stopped and knows nothing any more.
          this.#lent.delete(worker);
          lent.ended.abort();
        }
        this.#introduce();
        return;
      case "there":
        this.#say(worker, { type: "here" });
        return;
      case "counted":
        for (const [name, value] of Object.entries(message.counts)) this.#counts[/** @type {keyof MixServiceCounts} */ (name)] += value;
        this.#open = message.open;
        for (const url of message.urls) if (this.#urls.size < MOST_URLS) this.#urls.add(url);
        this.dispatchEvent(new CustomEvent("counts", { detail: this.counts }));
        return;
      case "failed": {
        const { url, destination, error } = message;
        this.dispatchEvent(new CustomEvent("failed", { detail: { url, destination, error: new MixError(error) } }));
      }
    }
  }

  #look() {
    const ended = this.#ended.signal.aborted;
    const up = this.#container.controller && UP.includes(this.#tunnel?.state.state ?? "");
    const state = ended ? "ended" : up ? "ready" : "waiting";
    if (state === this.#state) return;
    this.#state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: state }));
  }

  /** Take the tunnel back: what the page loads from now on waits, and fails. */
  close() {
    this.#leave();
    this.#unfollow();
    this.#tunnel?.removeEventListener("state", this.#onState);
    this.#ended.abort();
    this.#look();
  }

  /** `close`, and the Service Worker is there no more for pages that are loaded later. @returns {Promise<boolean>} */
  unregister() {
    this.close();
    return this.#registration.unregister();
  }
}

/**
 * Register the Service Worker, wait until it controls this page, and lend it the tunnel. It may be called before the tunnel
 * is set up: what the page loads meanwhile waits.
 * @param {MixServiceWorkerOptions} [options]
 * @returns {Promise<MixServiceWorker>}
 */
export async function registerMixServiceWorker(options = {}) {
  const url = addressOf(options);
  const scope = new URL(options.scope ?? "./", options.scope === undefined ? url : baseUrl());
  const container = serviceWorkers();
  if (!container || !navigator.locks) {
    throw refused("unsupported", "there are no Service Workers here: a private window, or no secure context (https: or localhost)");
  }
  if (!location.href.startsWith(scope.href)) throw refused("scope", `this page is not below ${scope.pathname}, which the Service Worker would control`);
  const { timeout = TIMEOUT_MS } = options;
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new MixError({
    name: "TimeoutExpired", code: "service_timeout", phase: "service", message: `the Service Worker does not control this page after ${timeout / 1000} s`, retryable: true,
  })), timeout);
  /** @type {MixServiceWorker | null} */ let made = null;
  try {
    let registration;
    try {
      const registering = container.register(url, { scope: scope.href, type: options.type ?? "classic", updateViaCache: "none" });
      registration = await unlessAborted(registering, late.signal); // a server may never answer
    } catch (error) {
      throw late.signal.aborted ? error : await whyRefused(url, scope, error);
    }
    const { active, waiting, installing } = registration;
    const worker = [active, waiting, installing].find((one) => one?.scriptURL === url.href) ?? installing ?? waiting ?? active;
    if (!worker) throw refused("blocked", "the Service Worker was not installed");
    await found(worker, "statechange", () => {
      if (worker.state === "redundant") throw refused("damaged", "the Service Worker's script failed when it was installed");
      return worker.state === "activated";
    }, late.signal);
    const controls = () => container.controller?.scriptURL === worker.scriptURL;
    if (!controls()) worker.postMessage({ speech: SPEECH, type: "claim" });
    await found(container, "controllerchange", controls, late.signal);
    made = new MixServiceWorker(registration, options.tunnel);
    await Promise.race([made.heard, new Promise((_, reject) => {
      late.signal.addEventListener("abort", () => reject(refused("foreign", `${url.pathname} is a Service Worker that does not use mixRequests`)));
    })]);
    current = made;
    return made;
  } catch (error) {
    made?.close();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}
