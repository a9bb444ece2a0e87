/**
 * The code of each panel, in JavaScript and Python, for the values in its form. A test runs each of them.
 *
 * @module
 */

/** @param {unknown} value @returns {string} */
const quoted = (value) => JSON.stringify(value);

/** @param {string[]} names @param {string} body @returns {string} */
const js = (names, body) => `import { ${["setupMixTunnel", ...names].sort().join(", ")} } from "./smolmix/index.js";\n\nawait setupMixTunnel();\n${body}`;

/** @param {string} body @param {string} [imports] @returns {string} */
const python = (body, imports = "") => `import asyncio
${imports}
from smolmix_web.cpython import open_tunnel


async def main() -> None:
    async with open_tunnel() as tunnel:
${body.split("\n").map((line) => (line ? `        ${line}` : "")).join("\n")}


asyncio.run(main())`;

/** @param {string} text one `name: value` a line @returns {[string, string][]} */
export function headersOf(text) {
  return text.split("\n").filter((line) => line.includes(":")).map((line) => {
    const at = line.indexOf(":");
    return [line.slice(0, at).trim(), line.slice(at + 1).trim()];
  });
}

/** By panel. @type {Record<string, (values: Record<string, string>) => Record<string, string>>} */
export const snippets = {
  fetch({ url, method, headers, body }) {
    const sent = headersOf(headers ?? ""), options = [];
    if (method !== "GET") options.push(`method: ${quoted(method)}`);
    if (sent.length) options.push(`headers: ${quoted(sent)}`);
    if (body && method !== "GET" && method !== "HEAD") options.push(`body: ${quoted(body)}`);
    const more = [`method=${quoted(method)}`];
    if (sent.length) more.push(`headers=[${sent.map((pair) => `(${pair.map(quoted).join(", ")})`).join(", ")}]`);
    if (body && method !== "GET" && method !== "HEAD") more.push(`body=${quoted(body)}.encode()`);
    return {
      JavaScript: js(["mixFetch"], `const response = await mixFetch(${quoted(url)}${options.length ? `, { ${options.join(", ")} }` : ""});
console.log(response.status, [...response.headers]);
console.log(await response.text());
console.log(response.timings);`),
      Python: python(`response = await tunnel.fetch(${quoted(url)}, ${more.join(", ")})
print(response.status, response.headers)
print(await response.read())
print(response.timings)`),
    };
  },
  download({ url }) {
    return {
      JavaScript: js(["mixFetch"], `const onProgress = ({ loaded, total }) => console.log(loaded, total);
const response = await mixFetch(${quoted(url)}, { onProgress });
let size = 0;
// Who takes bytes slowly slows the server down.
await response.body.pipeTo(new WritableStream({ write(chunk) { size += chunk.length; } }));
console.log(size);`),
      Python: python(`response = await tunnel.fetch(${quoted(url)})
size = 0
async for chunk in response:
    size += len(chunk)
print(size)`),
    };
  },
  websocket({ url }) {
    return {
      JavaScript: js(["MixWebSocket"], `const socket = new MixWebSocket(${quoted(url)});
await socket.opened();
socket.onmessage = ({ data }) => {
  console.log(data);
  socket.close();
};
socket.send("hello");`),
      Python: python(`socket = await tunnel.connect_websocket(${quoted(url)})
await socket.send("hello")
print(await socket.receive())
await socket.close()`),
    };
  },
  dns({ name, type, server }) {
    return {
      JavaScript: js(["mixResolve"], `const answer = await mixResolve(${quoted(name)}, { type: ${quoted(type)}${server ? `, server: ${quoted(server)}` : ""} });
console.log(answer.server, answer.ttl, answer.records);`),
      Python: python(`answer = await tunnel.lookup(${quoted(name)}, ${quoted(type)}${server ? `, server=${quoted(server)}` : ""})
print(answer.server, answer.ttl, answer.records)`),
    };
  },
  ping({ host }) {
    return {
      JavaScript: js(["mixPing"], `const { address, rtt } = await mixPing(${quoted(host)});
console.log(address, rtt, "ms");`),
      Python: python(`reply = await tunnel.ping(${quoted(host)})
print(reply.address, reply.rtt, "s")`),
    };
  },
  tcp({ host, port, tls }) {
    return {
      JavaScript: js(["TCPSocket"], `const socket = new TCPSocket(${quoted(host)}, ${Number(port)}${tls ? ", { tls: true }" : ""});
const { readable, writable } = await socket.opened;
const writer = writable.getWriter();
await writer.write(new TextEncoder().encode("hello\\n"));
const { value } = await readable.getReader().read();
console.log(new TextDecoder().decode(value));
await writer.close();`),
      Python: python(`async with await tunnel.connect_tcp(${quoted(host)}, ${Number(port)}${tls ? ", tls=True" : ""}) as connected:
    await connected.stream.write(b"hello\\n")
    print(await connected.stream.read())`),
    };
  },
  exits({ exit: chosen }) {
    const exit = chosen || "identity.encryption@gateway";
    return {
      JavaScript: `import { getTunnelState, setupMixTunnel } from "./smolmix/index.js";

await setupMixTunnel({ preferredIpr: ${quoted(exit)} });
console.log((await getTunnelState()).exit);`,
      Python: `import asyncio

from smolmix_web.cpython import open_tunnel


async def main() -> None:
    async with open_tunnel(preferred_ipr=${quoted(exit)}) as tunnel:
        print(tunnel.snapshot()["exit"])


asyncio.run(main())`,
    };
  },
};
