/**
 * Entry `smolmix-web/monitor`: `<mix-monitor>`, a live view of a tunnel for any page (docs/monitor.md).
 *
 *     import "smolmix-web/monitor";
 *     document.querySelector("mix-monitor").tunnel = await getMixTunnel();
 *
 * It shows what `tunnel.state`, `tunnel.statistics()` and the tunnel's events tell, and nothing else: where only our end of
 * a way is known, only that is drawn. It asks once a second, and not at all while nobody sees it.
 *
 * @module
 */

import { MixMonitor } from "./monitor/element.js";

export { MixMonitor };

const NAME = "mix-monitor";
// Without a document (a bundler's server, a worker) there is nothing to define.
if (globalThis.customElements && !customElements.get(NAME)) customElements.define(NAME, MixMonitor);
