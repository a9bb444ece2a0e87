// A tunnel that says what a test wants, in the place of a `MixTunnel`.
import "/smolmix/monitor.js";

const GATEWAY = "5gatewayGatewayGatewayGatewayGatewayGateway1", EXIT = "9exitsGatewayExitsGatewayExitsGatewayExits2";
const snapshot = (state, more = {}) => ({
  state, step: null, error: null, warnings: [], gateway: GATEWAY, address: null, exit: `a.b@${EXIT}`, addresses: ["10.0.0.7"],
  traffic: { rate: "1", reason: null }, ...more,
});
const flow = (local, name, more = {}) => ({
  name, local, remote: "203.0.114.10:443", state: "ESTABLISHED", round_trip_ms: 321, bytes_sent: 0, bytes_received: 0, retransmits: 0, ...more,
});

class Scripted extends EventTarget {
  state = snapshot("ready");
  asked = 0;
  answer = {
    packets_sent: 100,
    up: { packets: { real: 40, cover: 50, surb: 6, retransmitted: 4 } },
    down: { packets: { real: 30, cover: 50, ack: 90, surb: 2, other: 0 } },
    queues: { surbs: 1, control: 2, retransmission: 3, small: 4, bulk: 5, ready: 6, in_flight: 7, ip: 8 },
    surbs: { held: 123, queued: 9, missing: 10 }, inbox: { frames: 11 }, lag_ms: 12, round_trip_ms: 345, loss: 0.0123,
    traffic: { rate: "1/2", reason: "line" },
    path: { gateway: GATEWAY, route: [], exit: `a.b@${EXIT}`, exit_version: 10, addresses: ["10.0.0.7"] },
    newest: [
      { number: 99, kind: "cover", route: ["1mixmixmix", "2mixmixmix", "3mixmixmix", GATEWAY] },
      { number: 100, kind: "real", route: ["1nodenode", "2nodenode", "3nodenode", EXIT] },
    ],
    flows: [flow("10.0.0.7:1", "first.test"), flow("10.0.0.7:2", null, { state: "CLOSE_WAIT", round_trip_ms: null })],
  };
  statistics() {
    this.asked += 1;
    return Promise.resolve(structuredClone(this.answer));
  }
  become(state, more) {
    this.state = snapshot(state, more);
    this.dispatchEvent(new CustomEvent("state", { detail: this.state }));
  }
}

const monitor = document.querySelector("mix-monitor"), root = () => monitor.shadowRoot;
const tunnel = new Scripted();
const legends = () => [...root().querySelectorAll(".legend")].map((list) => [...list.querySelectorAll("b")].map((value) => value.textContent));
const rows = (selector) => [...root().querySelectorAll(`${selector} tbody tr`)].map((row) => [...row.cells].map((cell) => cell.textContent));
Object.assign(window, { monitor, tunnel, root, legends, rows });
monitor.tunnel = tunnel;
