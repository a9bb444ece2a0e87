/**
 * Event handler attributes (HTML 8.1.8.1) of the classes that stand in for the browser's own: `onload`, `onmessage`, ...
 *
 * @module
 */

/** @type {WeakMap<EventTarget, Map<string, {handler: unknown, listener: (event: Event) => void}>>} */
const handlers = new WeakMap();

/**
 * @param {EventTarget} target
 * @param {string} type
 * @returns {any} what was set, null when nothing is
 */
export function handlerOf(target, type) {
  return handlers.get(target)?.get(type)?.handler ?? null;
}

/**
 * One listener, which takes its place when a handler is set and leaves it when it is set to null. An object that is no
 * function may be set, and does nothing.
 * @param {EventTarget} target
 * @param {string} type
 * @param {unknown} handler
 */
export function handle(target, type, handler) {
  const own = handlers.get(target) ?? new Map();
  handlers.set(target, own);
  const present = own.get(type);
  if ((typeof handler !== "object" || handler === null) && typeof handler !== "function") {
    if (present) target.removeEventListener(type, present.listener);
    own.delete(type);
  } else if (present) {
    present.handler = handler;
  } else {
    /** @type {{handler: unknown, listener: (event: Event) => void}} */
    const entry = { handler, listener: (event) => { if (typeof entry.handler === "function") entry.handler.call(target, event); } };
    own.set(type, entry);
    target.addEventListener(type, entry.listener);
  }
}

/**
 * What a class of an interface shows of itself: its constants, and attributes and operations that are enumerable.
 * @param {{prototype: object}} type
 * @param {string} name a bundler may have given it another
 * @param {Readonly<Record<string, number>>} constants
 * @param {readonly string[]} members
 */
export function asInterface(type, name, constants, members) {
  for (const [constant, value] of Object.entries(constants)) {
    for (const target of [type, type.prototype]) {
      Object.defineProperty(target, constant, { value, enumerable: true, writable: false, configurable: false });
    }
  }
  for (const member of members) Object.defineProperty(type.prototype, member, { enumerable: true });
  Object.defineProperty(type, "name", { value: name, configurable: true });
  Object.defineProperty(type.prototype, Symbol.toStringTag, { value: name, configurable: true });
}
