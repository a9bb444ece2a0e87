/** What both examples ask of a window: no Node.js in the page, and nothing that goes out beside the tunnel. */

/** @typedef {import("electron").BrowserWindow} BrowserWindow */

/**
 * @param {import("electron").Session} session
 * @param {string} [preload] path of the script
 * @returns {import("electron").BrowserWindowConstructorOptions}
 */
export const quietWindow = (session, preload) => ({
  width: 760,
  height: 640,
  webPreferences: {
    session, ...(preload ? { preload } : {}), nodeIntegration: false, contextIsolation: true, sandbox: true,
    spellcheck: false, // its dictionaries are downloaded, from a server of Google's
    webviewTag: false,
  },
});

/** @param {BrowserWindow} window @param {string} beginning of all pages that it may show */
export function keepQuiet({ webContents }, beginning) {
  webContents.setWebRTCIPHandlingPolicy("disable_non_proxied_udp");
  webContents.setWindowOpenHandler(() => ({ action: "deny" }));
  webContents.on("will-navigate", (event) => {
    if (!event.url.startsWith(beginning)) event.preventDefault();
  });
  webContents.session.setPermissionRequestHandler((_contents, _permission, answer) => answer(false));
}
