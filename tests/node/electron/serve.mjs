/**
 * `app://smolmix/` of the in-page example over http, for a browser that knows no such scheme: every answer is that of the
 * example's own handler. Run in the project's folder; `$MORE_CONNECT` joins its policy's `connect-src`.
 */

import { createServer } from "node:http";
import { pathToFileURL } from "node:url";

await import(pathToFileURL(`${process.cwd()}/in-page/main.js`).href);

const server = createServer(async ({ method, url }, answer) => {
  const { status, headers, body } = await globalThis.standIn.request("smolmix", `app://smolmix${url}`, { method });
  const policy = headers["content-security-policy"];
  if (policy) headers["content-security-policy"] = policy.replace("connect-src", `connect-src ${process.env.MORE_CONNECT}`);
  answer.writeHead(status, headers).end(body);
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
