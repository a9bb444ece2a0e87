/** `mixFetch`: in place of `fetch`, and what is more. */

import { MixResponse, MixTunnel, mixFetch } from "smolmix";
import type { FetchTimings, MixFetchEntry, MixFetchInit, MixProgress } from "smolmix";
import { exactly } from "./exactly.js";

// Wherever a fetch is expected.
export const inPlace: (input: RequestInfo | URL, init?: RequestInit) => Promise<Response> = mixFetch;

const init: MixFetchInit = {
  method: "POST", headers: [["a", "b"]], body: new FormData(), redirect: "manual", signal: null, integrity: "sha256-x", duplex: "half",
  cookies: "jar", maxRedirects: 3, allowInsecureRedirects: true, timeouts: { total: 5 },
  onProgress(progress) {
    exactly<MixProgress>()(progress);
    exactly<"upload" | "download">()(progress.phase);
    exactly<number>()(progress.loaded);
    exactly<number | null>()(progress.total);
  },
};

export async function fetching(tunnel: MixTunnel): Promise<void> {
  const response = await mixFetch(new URL("https://example.com/"), init);
  exactly<MixResponse>()(response);
  exactly<MixResponse>()(response.clone());
  exactly<MixResponse>()(await tunnel.fetch(new Request("https://example.com/")));
  const plain: Response = response;
  void plain;
  exactly<string[]>()(response.headers.getSetCookie());
  exactly<ReadableStream<Uint8Array<ArrayBuffer>> | null>()(response.body);
  exactly<Promise<Uint8Array<ArrayBuffer>>>()(response.bytes());
  exactly<{ tls: string | null; httpVersion: string; truncated: boolean }>()(response.mix);
  exactly<FetchTimings>()(response.timings);
  exactly<number | null>()(response.timings.ttfb);
  tunnel.addEventListener("timing", ({ detail }) => {
    exactly<MixFetchEntry>()(detail);
    exactly<"mixnet-fetch">()(detail.entryType);
    exactly<number>()(detail.duration);
  });
}

export function misuse(): void {
  // @ts-expect-error one of three
  void mixFetch("https://example.com/", { redirect: "ignore" });
  // @ts-expect-error omit or jar
  void mixFetch("https://example.com/", { cookies: "include" });
  // @ts-expect-error no such phase
  void mixFetch("https://example.com/", { timeouts: { nap: 5 } });
  // @ts-expect-error no number
  void mixFetch(5);
}
