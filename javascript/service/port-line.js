/**
 * The messages of a tunnel on the port that a page lends: `fetch` speaks through it as through a worker of its own.
 *
 * @module
 */

import { Line } from "../page/line.js";

/** @typedef {import("../shared/messages.js").TunnelSnapshot} TunnelSnapshot */

/** States in which the tunnel lets an operation begin, or wait within its own limits. */
const UP = ["ready", "reconnecting", "suspended"];

export class PortLine extends Line {
  /** @type {MessagePort} */ #port;
  /** @type {TunnelSnapshot | null} */ #snapshot = null;
  /** Something ended for want of a tunnel; the state that says so is on its way. */
  #doubted = false;

  /**
   * @param {MessagePort} port
   * @param {() => void} changed told of each state
   * @param {(bytes: number) => void} came told of bytes of bodies
   */
  constructor(port, changed, came) {
    super((message, transfer = []) => port.postMessage(message, transfer));
    this.#port = port;
    port.onmessage = ({ data }) => {
      if (data.type === "state") {
        this.#snapshot = data.snapshot;
        this.#doubted = false;
        changed();
      } else if (!this.dead) {
        if (data.type === "chunk") came(data.data.length);
        this.deliver(data);
      }
    };
  }

  /** Operations may begin. */
  get up() {
    return !this.dead && !this.#doubted && UP.includes(this.#snapshot?.state ?? "");
  }

  /** There will be a tunnel, as far as is known. */
  get coming() {
    return !this.dead && this.#snapshot?.state === "connecting";
  }

  /** Until the next state. */
  doubt() {
    this.#doubted = true;
  }

  /** @param {unknown} error */
  end(error) {
    if (this.dead) return;
    super.end(error);
    this.#port.postMessage({ type: "bye" });
    this.#port.close();
  }
}
