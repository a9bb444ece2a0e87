/** A console on a WebSocket. @module */

import { MixWebSocket } from "../smolmix/index.js";
import { talk } from "../ui.js";

/** @type {import("../ui.js").Panel} */
export const panel = {
  id: "websocket",
  title: "WebSocket",
  lead: "A WebSocket whose every frame travels through the mixnet.",
  action: "Connect",
  fields: (config) => [{ name: "url", label: "URL", value: config.websocketUrl, wide: true }],
  async run({ url }, { output, say, signal }) {
    const socket = new MixWebSocket(url);
    signal.addEventListener("abort", () => socket.close());
    const { element, add, input, end } = talk("WebSocket", (text) => {
      socket.send(text);
      add("sent", text);
    });
    output.append(element);
    say(`connecting to ${url} …`);
    socket.onmessage = ({ data }) => add("came", typeof data === "string" ? data : `${data.size ?? data.byteLength} bytes`);
    const closed = new Promise((resolve) => { socket.onclose = resolve; });
    await socket.opened();
    say("open");
    input.focus();
    const { code, reason } = await closed;
    end();
    add("note", `closed with code ${code}${reason ? `: ${reason}` : ""}`);
    say("closed");
  },
};
