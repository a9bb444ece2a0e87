/** All that the page has of Electron: to be told that the machine sleeps, and wakes. */

const { contextBridge, ipcRenderer } = require("electron");

contextBridge.exposeInMainWorld("shell", {
  /** @param {(on: boolean) => void} listener */
  onRest: (listener) => void ipcRenderer.on("rest", (_event, on) => listener(on === true)),
});
