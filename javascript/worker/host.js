/**
 * What Python's side of the host asks of the browser many times a second, in one crossing each: wake-ups, and what a
 * WebSocket brings.
 *
 * An asyncio handle costs a proxy that is made and destroyed, where a browser can switch stacks a thread of Python's own,
 * and comes although it was cancelled. Here one proxy is called again and again.
 *
 * @module
 */

/** A timer that was set by a timer, five times in a row, waits for so long at least; one set by a message does not. */
const CLAMPED_MS = 4;

/**
 * One wake-up, which can be set again and again.
 * @param {() => void} wake
 */
export function createAlarm(wake) {
  const { port1, port2 } = new MessageChannel();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let awaited = 0; // which message counts
  let sent = 0;
  let due = 0;

  /** Never early: browsers take whole milliseconds, and Node.js counts them from when its turn began. */
  function fire() {
    const left = due - performance.now();
    if (left > 0) wait(left);
    else wake();
  }

  /** @param {number} milliseconds */
  function wait(milliseconds) {
    timer = setTimeout(fire, Math.ceil(milliseconds));
  }

  port1.onmessage = ({ data }) => {
    if (data !== awaited) return;
    awaited = 0;
    fire();
  };

  function cancel() {
    clearTimeout(timer);
    timer = undefined;
    awaited = 0;
  }

  return {
    /** In so many milliseconds, instead of what was set before; 0: once all that waits now has been served. @param {number} milliseconds */
    set(milliseconds) {
      cancel();
      due = milliseconds > 0 ? performance.now() + milliseconds : 0;
      if (milliseconds >= CLAMPED_MS) {
        wait(milliseconds);
        return;
      }
      awaited = sent += 1;
      port2.postMessage(awaited);
    },
    close() {
      cancel();
      port1.close();
    },
  };
}

/**
 * What a WebSocket brings goes to Python as a string or bytes.
 * @param {WebSocket} socket
 * @param {() => void} opened
 * @param {(data: string | Uint8Array) => void} message
 * @param {(code: number) => void} closed
 * @returns {() => void} stops it
 */
export function listen(socket, opened, message, closed) {
  // Node.js forgets what a signal is to end, once it has collected garbage; an event more finds no Python any longer.
  let heard = true;
  socket.binaryType = "arraybuffer";
  socket.addEventListener("open", () => { if (heard) opened(); });
  socket.addEventListener("close", ({ code }) => { if (heard) closed(code); });
  socket.addEventListener("message", ({ data }) => {
    if (heard) message(typeof data === "string" ? data : new Uint8Array(data));
  });
  return () => { heard = false; };
}
