/**
 * The tunnel in the main process: a window that shows the web, of which everything comes through the mixnet. Its pages need no
 * code of ours, and know of nothing.
 *
 * `electron main-process/main.js [https://...]`
 */

import { app, BrowserWindow, dialog, powerMonitor, session } from "electron";

import { disconnectMixTunnel, getMixTunnel, setupMixTunnel } from "smolmix-web";
import { keepQuiet, quietWindow } from "../quiet.js";
import { throughTunnel } from "./through.js";

/** Of a local network, for tests. */
const OPTIONS = JSON.parse(process.env.SMOLMIX_OPTIONS ?? "{}");
const START = process.argv.find((one) => one.startsWith("https://")) ?? "https://example.com/";
/** Nobody listens there. */
const NOWHERE = "127.0.0.1:9";

await app.whenReady();
const web = session.fromPartition("smolmix");
// What is not handled below (WebSocket, WebTransport, the browser's own) ends here, and resolves no name.
await web.setProxy({ mode: "fixed_servers", proxyRules: NOWHERE, proxyBypassRules: "<-loopback>" });
web.protocol.handle("https", async (request) => {
  try {
    return await throughTunnel(request);
  } catch (error) {
    console.error(`${request.url}: ${/** @type {Error} */ (error).message}`);
    return Response.error();
  }
});
web.protocol.handle("http", async () => Response.error());

const ready = setupMixTunnel(OPTIONS); // what the window asks for meanwhile waits
const window = new BrowserWindow(quietWindow(web));
keepQuiet(window, "https://");
ready.then(
  () => void window.setTitle("smolmix: ready"),
  (error) => dialog.showErrorBox("smolmix", `${error.code}: ${error.message}`),
);
const rest = async (/** @type {boolean} */ on) => {
  const tunnel = await getMixTunnel();
  await (on ? tunnel.suspend() : tunnel.resume());
};
powerMonitor.on("suspend", () => void rest(true).catch(() => {})); // there is no tunnel to rest
powerMonitor.on("resume", () => void rest(false).catch(() => {}));
app.on("window-all-closed", async () => {
  await disconnectMixTunnel();
  app.quit();
});
await window.loadURL(START).catch((error) => console.error(`${START}: ${error.message}`));
