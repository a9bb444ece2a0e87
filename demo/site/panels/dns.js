/** DNS: records of any type, asked through the exit. @module */

import { mixResolve } from "../smolmix/index.js";
import { facts, table } from "../ui.js";

const TYPES = ["A", "AAAA", "CNAME", "MX", "TXT", "NS", "SOA", "SRV", "PTR", "HTTPS", "CAA"];

/** @type {import("../ui.js").Panel} */
export const panel = {
  id: "dns",
  title: "DNS",
  lead: "Names are asked for at the far end of the tunnel. The browser and its provider see no question.",
  action: "Look up",
  fields: (config) => [
    { name: "name", label: "Name", value: config.name, wide: true },
    { name: "type", label: "Type", value: "A", choices: TYPES },
    { name: "server", label: "Server (as the tunnel has it)", value: "" },
  ],
  async run({ name, type, server }, { output, say, signal }) {
    say(`${type} of ${name} …`);
    const began = performance.now();
    const answer = await mixResolve(name, { type: /** @type {"A"} */ (type), signal, fresh: true, ...(server ? { server } : {}) });
    say(`${answer.records.length} ${answer.records.length === 1 ? "record" : "records"} after ${Math.round(performance.now() - began)} ms`);
    output.append(
      facts([["Answered by", answer.server || "nobody"], ["May be kept", `${answer.ttl} s`], ["Signatures checked", answer.authenticated ? "by the server" : "no"], ["Name", answer.canonicalName]]),
      table("Records", ["name", "TTL", "type", "data"], answer.records.map(({ name: owner, ttl, type: kind, ...data }) => [owner, `${ttl} s`, kind, Object.entries(data).map(([key, value]) => `${key} ${typeof value === "string" ? value : JSON.stringify(value)}`).join(", ")])),
    );
  },
};
