/**
 * The web part of an app in a WebView, the same for every shell: a classic script, as modules do not load from `file:`.
 *
 * A shell may set `window.smolmixOptions` before. It says that the app rests, or goes on, in its own way; all of them end in
 * `appRests`.
 */

/* global smolmix */

const tunnel = new smolmix.MixTunnel(window.smolmixOptions ?? {});
const element = (id) => document.getElementById(id);

tunnel.addEventListener("state", ({ detail: { state, step } }) => {
  element("state").value = step ? `${state} (${step})` : state;
});

/** For Android's `evaluateJavascript`, iOS's and React Native's injected scripts. @param {boolean} on */
window.appRests = (on) => void (on ? tunnel.suspend() : tunnel.resume());

// Cordova: events of the document.
document.addEventListener("pause", () => window.appRests(true));
document.addEventListener("resume", () => window.appRests(false));
// Capacitor and Ionic: the plugin @capacitor/app.
window.Capacitor?.Plugins?.App?.addListener("appStateChange", ({ isActive }) => window.appRests(!isActive));

element("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  element("body").textContent = "";
  try {
    await tunnel.setup();
    const response = await tunnel.fetch(element("url").value);
    const text = await response.text();
    element("body").textContent = text.slice(0, 2_000);
    element("told").textContent = `${response.status}: ${text.length} characters`;
  } catch (error) {
    element("told").textContent = `${error.code ?? error.name}: ${error.message}`;
  }
});
