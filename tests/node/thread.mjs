// In a thread of its own: shuts it, and tries every way out (test_guard.py).
import { execFile } from "node:child_process";
import dgram from "node:dgram";
import dns from "node:dns";
import http from "node:http";
import net, { connect } from "node:net";
import tls from "node:tls";
import { Worker, parentPort, workerData } from "node:worker_threads";

const { guardWires, permit, stoppedWires } = await import(workerData.wires);
console.error = () => {};
permit(workerData.allowed);
guardWires();
const [allowed, other] = [workerData.allowed, workerData.other].map((text) => new URL(text));
const tries = {
  allowed: async () => (await fetch(allowed)).text(),
  fetch: () => fetch(other),
  WebSocket: () => new Promise((ok, fail) => { new WebSocket(other).onerror = fail; }),
  connect: () => net.connect(Number(other.port), other.hostname),
  named: () => connect({ port: other.port, host: other.hostname }),
  socket: () => new net.Socket().connect(Number(other.port)),
  pipe: () => net.connect("/var/run/docker.sock"),
  tls: () => tls.connect(Number(other.port), other.hostname),
  http: () => new Promise((ok, fail) => http.get(other, ok).on("error", fail)),
  lookup: () => new Promise((ok, fail) => dns.lookup("example.com", (error) => fail(error))),
  resolve: () => new Promise((ok, fail) => dns.resolve4("example.com", (error) => fail(error))),
  Resolver: () => new dns.Resolver(),
  promises: () => dns.promises.lookup("example.com"),
  udp: () => dgram.createSocket("udp4"),
  process: () => execFile("true"),
  thread: () => new Worker("0", { eval: true }),
};
const told = {};
for (const [name, attempt] of Object.entries(tries)) {
  try {
    told[name] = typeof (await attempt()) === "string" ? "came" : "passed";
  } catch (error) {
    told[name] = [error.code, error.cause?.code].includes("blocked_request") ? "stopped" : "failed";
  }
}
parentPort.postMessage({ told, stopped: stoppedWires() });
