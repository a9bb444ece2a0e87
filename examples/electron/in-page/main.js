/**
 * The tunnel in the page: the window is a web page like any other, its files come by a scheme of the app's own, and its Service
 * Worker sends what it loads through the tunnel. The main process has nothing to do with it, but that it says when the machine
 * sleeps.
 */

import { app, BrowserWindow, powerMonitor, protocol, session } from "electron";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { ownFiles } from "../files.js";
import { keepQuiet, quietWindow } from "../quiet.js";

const HERE = dirname(fileURLToPath(import.meta.url));
const SITE = "app://smolmix/";
// The package's `browser` files, whatever is in its `exports` for Node.js.
const FILES = dirname(fileURLToPath(import.meta.resolve("smolmix-web/whole-page")));
const POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self' blob: https: wss:; "
  + "style-src 'self'; img-src 'self' data: https:; frame-src 'none'; object-src 'none'; base-uri 'none'; form-action 'none'; webrtc 'block'";

/** What `app://smolmix/` is made of. */
export const site = ownFiles({
  "/": join(HERE, "www"), "/smolmix/": FILES, "/service-worker.js": join(FILES, "service-worker.js"),
}, POLICY);

// Before the app is ready. "standard" and "secure" make an origin of it, with storage, locks and `crypto.subtle`.
protocol.registerSchemesAsPrivileged([{
  scheme: "app", privileges: { standard: true, secure: true, supportFetchAPI: true, allowServiceWorkers: true, stream: true },
}]);

await app.whenReady();
// Nothing of it is kept; "persist:smolmix" where a stored identity (`clientId`) is wanted.
const own = session.fromPartition("smolmix");
own.protocol.handle("app", site);
const window = new BrowserWindow(quietWindow(own, join(HERE, "preload.cjs")));
keepQuiet(window, SITE);
const rest = (/** @type {boolean} */ on) => window.isDestroyed() || window.webContents.send("rest", on);
powerMonitor.on("suspend", () => rest(true));
powerMonitor.on("resume", () => rest(false));
app.on("window-all-closed", () => app.quit());
await window.loadURL(`${SITE}index.html`);
