/** A console on a TCP connection, with TLS if wanted. @module */

import { TCPSocket } from "../smolmix/index.js";
import { talk } from "../ui.js";

/** @type {import("../ui.js").Panel} */
export const panel = {
  id: "tcp",
  title: "TCP",
  lead: "A raw TCP connection in the shape of Direct Sockets; lines are sent with a line feed.",
  action: "Connect",
  fields: (config) => [
    { name: "host", label: "Host", value: (config.tcp ?? `${config.name}:80`).split(":")[0], wide: true },
    { name: "port", label: "Port", value: (config.tcp ?? `${config.name}:80`).split(":")[1] },
    { name: "tls", label: "TLS", value: "", check: true },
  ],
  async run({ host, port, tls }, { output, say, signal }) {
    const socket = new TCPSocket(host, Number(port), { tls: tls === "on", signal });
    say(`connecting to ${host} port ${port} …`);
    const { readable, writable, remoteAddress, tls: facts } = await socket.opened;
    say(`open: ${remoteAddress}${facts ? `, ${facts.version} ${facts.cipher}` : ""}`);
    const writer = writable.getWriter(), reader = readable.getReader(), decoder = new TextDecoder();
    const { element, add, input, end } = talk("TCP connection", (text) => {
      writer.write(new TextEncoder().encode(`${text}\n`)).catch(() => {});
      add("sent", text);
    });
    output.append(element);
    input.focus();
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        add("came", decoder.decode(value, { stream: true }).trimEnd());
      }
      add("note", "the other side has ended");
      await writer.close();
      say("closed");
    } finally {
      end();
    }
  },
};
