// What a page does with one of the two clients, timed where a user would look: in the page.
//
// The address says which: `#{"client": "ours" | "single" | "official", "options": {...}}`; "single" is ours in one file.
// Set-up begins with the page; `peer` is the interface for the driver. All times are milliseconds.

const { client, options } = JSON.parse(decodeURIComponent(location.hash.slice(1)));

async function load() {
  if (client === "ours") return import("/smolmix/index.js");
  if (client === "single") return import("/smolmix/single/smolmix.js");
  const [tunnel, { mixFetch }] = await Promise.all([import("@nymproject/mix-tunnel"), import("@nymproject/mix-fetch")]);
  return { ...tunnel, mixFetch };
}

/** What only some benches use; of the official packages each is one of its own. */
async function more() {
  if (client === "ours") return import("/smolmix/index.js");
  const [dns, socket] = await Promise.all([import("@nymproject/mix-dns"), import("@nymproject/mix-websocket")]);
  return { ...dns, ...socket };
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

const TIMER = 50;
const MAX_DELAYS = 100_000;
const { setTimeout, clearTimeout } = globalThis;

/** How late each timer of 50 ms is while the work lasts; the 95th percentile. */
const watched = async (work) => {
  const late = [];
  let timer = 0;
  const arm = () => {
    const due = performance.now() + TIMER;
    timer = setTimeout(() => {
      if (late.length < MAX_DELAYS) late.push(Math.max(0, performance.now() - due));
      arm();
    }, TIMER);
  };
  arm();
  try {
    const done = await work();
    late.sort((a, b) => a - b);
    return { ...done, late: late.length ? late[Math.min(late.length - 1, Math.floor(late.length * 0.95))] : null };
  } finally {
    clearTimeout(timer);
  }
};

const size = async (answer) => (await answer.arrayBuffer()).byteLength;

/** What the client told of its state since the page was opened: ours by events, the official one has none. */
const told = { changes: 0, reconnects: 0, warnings: [], states: [] };

async function listen() {
  if (client !== "ours") return;
  const { api } = await ready;
  (await api.getMixTunnel()).addEventListener("state", ({ detail }) => {
    const state = [detail.state, detail.step].filter(Boolean).join(": ");
    for (const warning of detail.warnings ?? []) {
      const text = typeof warning === "string" ? warning : warning.code ?? JSON.stringify(warning);
      if (!told.warnings.includes(text) && told.warnings.length < 100) told.warnings.push(text);
    }
    if (told.states.at(-1)?.[1] === state) return;
    told.changes += 1;
    if (detail.state === "reconnecting" && !told.states.at(-1)?.[1].startsWith("reconnecting")) told.reconnects += 1;
    if (told.states.length < 1000) told.states.push([Math.round(performance.now()), state]);
  });
}
listen().catch(() => {});

globalThis.peer = {
  ready: async () => (await ready).milliseconds,
  get: (url) => timed(async ({ mixFetch }) => size(await mixFetch(url))),
  watchedGet: (url) => watched(() => globalThis.peer.get(url)),
  together: (urls) => timed(async ({ mixFetch }) => {
    const sizes = await Promise.all(urls.map(async (url) => size(await mixFetch(url))));
    return sizes.reduce((sum, one) => sum + one, 0);
  }),
  post: (url, length) => timed(async ({ mixFetch }) => {
    const body = new Uint8Array(length);
    for (let at = 0; at < length; at += 65536) crypto.getRandomValues(body.subarray(at, Math.min(length, at + 65536)));
    const answer = await (await mixFetch(url, { method: "POST", body })).json();
    return answer.length;
  }),
  resolve: async (name) => {
    await ready;
    return String(await (await more()).mixDNS(name));
  },
  echo: async (url, text) => {
    await ready;
    const { MixWebSocket } = await more();
    const socket = new MixWebSocket(url);
    await socket.opened();
    const answer = new Promise((resolve, reject) => {
      socket.addEventListener("message", resolve);
      socket.addEventListener("error", () => reject(new Error("the WebSocket failed")));
    });
    await socket.send(text);
    await answer;
    await socket.close();
  },
  /** Keeps on doing one thing for so long; how often it was done. */
  busy: async (what, milliseconds) => {
    const end = performance.now() + milliseconds;
    const pause = (ms) => new Promise((go) => setTimeout(go, Math.min(ms, Math.max(0, end - performance.now()))));
    const { mixFetch } = (await ready).api;
    const { mixDNS, MixWebSocket } = await more();
    let done = 0;
    let number = 0;
    const socket = what === "chatter" ? new MixWebSocket("ws://ws.test/") : null;
    await socket?.opened();
    const work = {
      nothing: () => pause(milliseconds),
      fetch: async () => {
        await mixFetch("http://origin.test/text");
        await pause(1500);
      },
      downloads: async () => size(await mixFetch("http://origin.test/bytes/60000")),
      uploads: async () => size(await mixFetch("http://origin.test/upload", { method: "POST", body: new Uint8Array(30_000) })),
      stream: async () => {
        const reader = (await mixFetch("http://origin.test/bytes/150000")).body.getReader();
        while (performance.now() < end && !(await reader.read()).done) await pause(100);
        await reader.cancel();
      },
      chatter: async () => {
        await socket.send(`message ${(number += 1)}`);
        await pause(150);
      },
      names: () => mixDNS(`n${(number += 1)}.http.test`).catch(() => {}),
    }[what];
    while (performance.now() < end) {
      await work();
      done += 1;
    }
    await socket?.close();
    return done;
  },
  told: async () => told,
  disconnect: async () => (await ready).api.disconnectMixTunnel(),
};
