// Preloaded into every thread of a program: writes down which places sockets and look-ups ask for.
import { appendFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import dgram from "node:dgram";
import dns from "node:dns";
import net from "node:net";
import { isMainThread } from "node:worker_threads";

const file = process.env.SMOLMIX_SPY;
const tell = (kind, what) => appendFileSync(file, `${JSON.stringify([isMainThread ? "main" : "worker", kind, what])}\n`);
const { connect } = net.Socket.prototype;
net.Socket.prototype.connect = function (...given) {
  const [place] = Array.isArray(given[0]) ? given[0] : given;
  tell("connect", typeof place === "object" ? place.path ?? `${place.host ?? "localhost"}:${place.port}` : String(place));
  return connect.apply(this, given);
};
for (const [module, name] of [[dns, "lookup"], [dns, "resolve4"], [dns, "resolve"], [dns.promises, "lookup"], [dgram, "createSocket"]]) {
  const native = module[name];
  module[name] = function (...given) {
    tell(name, String(given[0]));
    return native.apply(this, given);
  };
}
syncBuiltinESMExports();
