/** `mixResolve`: typed records. */

import { MixTunnel, mixResolve } from "smolmix";
import type { MixDnsAnswer, MixRecord, MixRecordType, MixResolveOptions } from "smolmix";
import { exactly } from "./exactly.js";

export async function records(tunnel: MixTunnel): Promise<void> {
  const plain = await mixResolve("example.com");
  exactly<MixDnsAnswer<"A">>()(plain);
  exactly<string | undefined>()(plain.records.at(0)?.address);
  const options: MixResolveOptions<"MX"> = { type: "MX", signal: null, timeout: 1, server: "tls://9.9.9.9", fresh: true };
  const mail = await tunnel.lookup("example.com", options);
  exactly<"MX">()(mail.type);
  exactly<number | undefined>()(mail.records.at(0)?.preference);
  exactly<string | undefined>()(mail.records.at(0)?.exchange);
  const { name, canonicalName, ttl, server, fromCache, authenticated } = mail;
  exactly<string>()(name);
  exactly<string>()(canonicalName);
  exactly<number>()(ttl);
  exactly<string>()(server);
  exactly<boolean>()(fromCache);
  exactly<boolean>()(authenticated);
  const text = await mixResolve("example.com", { type: "TXT" });
  exactly<string[] | undefined>()(text.records.at(0)?.strings);
  const service = await mixResolve("example.com", { type: "HTTPS" });
  exactly<number | null | undefined>()(service.records.at(0)?.port);
  const type: MixRecordType = "CAA";
  void type;
}

export function told(record: MixRecord): string {
  switch (record.type) {
    case "A":
    case "AAAA":
      return record.address;
    case "SRV":
      return `${record.target}:${record.port}`;
    default:
      exactly<number>()(record.ttl);
      return record.name;
  }
}

export function misuse(): void {
  // @ts-expect-error no such type
  void mixResolve("example.com", { type: "ANY" });
  // @ts-expect-error addresses have no preference
  void mixResolve("example.com", { type: "AAAA" }).then(({ records }) => records.at(0)?.preference);
}
