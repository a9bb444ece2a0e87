// What a page does with one of the two clients, timed where a user would look: in the page.
//
// The address says which: `#{"client": "ours" | "official", "options": {...}}`. Set-up begins with the page; `peer` is the
// interface for the driver. All times are milliseconds.

const { client, options } = JSON.parse(decodeURIComponent(location.hash.slice(1)));

async function load() {
  if (client === "ours") return import("/smolmix/index.js");
  const [tunnel, { mixFetch }] = await Promise.all([import("@nymproject/mix-tunnel"), import("@nymproject/mix-fetch")]);
  return { ...tunnel, mixFetch };
}

const ready = (async () => {
  const api = await load();
  await api.setupMixTunnel(options);
  return { api, milliseconds: performance.now() }; // since the navigation began
})();
ready.catch(() => {}); // told to whoever asks

const timed = async (work) => {
  const began = performance.now();
  const bytes = await work((await ready).api);
  return { milliseconds: performance.now() - began, bytes };
};

globalThis.peer = {
  ready: async () => (await ready).milliseconds,
  get: (url) => timed(async ({ mixFetch }) => (await (await mixFetch(url)).arrayBuffer()).byteLength),
  together: (urls) => timed(async ({ mixFetch }) => {
    const sizes = await Promise.all(urls.map(async (url) => (await (await mixFetch(url)).arrayBuffer()).byteLength));
    return sizes.reduce((sum, size) => sum + size, 0);
  }),
  post: (url, size) => timed(async ({ mixFetch }) => {
    const body = new Uint8Array(size);
    for (let at = 0; at < size; at += 65536) crypto.getRandomValues(body.subarray(at, Math.min(size, at + 65536)));
    const answer = await (await mixFetch(url, { method: "POST", body })).json();
    return answer.length;
  }),
  disconnect: async () => (await ready).api.disconnectMixTunnel(),
};
