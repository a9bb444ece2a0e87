// The page of a soak: three users of one tunnel, as in bench/soak_python.py. `say` and `bodyHash` are bindings of the
// browser's driver: the one takes records, the other gives the SHA-256 that a body of the origin must have.
import { getMixTunnel, mixDNS, mixFetch, MixWebSocket, setupMixTunnel, disconnectMixTunnel } from "/smolmix/index.js";

const DOWNLOAD = [100_000, 300_000];
const SMALL = [1_000, 20_000];
const PAUSE = 300;
const ECHOES = 20;

class WrongBytes extends Error {}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const between = ([low, high]) => low + Math.floor(Math.random() * (high - low + 1));
const hex = (buffer) => [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, "0")).join("");

let until = 0;
let deadline = 0;
let number = 0;
const working = () => performance.now() < until;
const seed = () => `page${++number}`;

async function operation(kind, work) {
  const began = performance.now();
  const record = { kind, outcome: "ok" };
  const late = {};
  let timer;
  try {
    const limit = new Promise((resolve) => { timer = setTimeout(resolve, deadline, late); });
    const result = await Promise.race([work(), limit]);
    if (result === late) record.outcome = "hung";
    else record.bytes = result;
  } catch (error) {
    record.outcome = error instanceof WrongBytes || error.code === undefined ? "wrong" : "failed";
    record.code = record.outcome === "wrong" ? `${error.name}: ${error.message}` : error.code;
    record.phase = error.phase ?? null;
    record.message = error.message;
  } finally {
    clearTimeout(timer);
  }
  say({ ...record, ms: Math.round(performance.now() - began) });
  return record.outcome === "ok";
}

async function fetchBody(origin, sizes) {
  const size = between(sizes);
  const name = seed();
  const response = await mixFetch(`${origin}/bytes/${size}?seed=${name}`);
  const body = await response.arrayBuffer();
  const hash = hex(await crypto.subtle.digest("SHA-256", body));
  if (response.status !== 200 || hash !== await bodyHash(size, name)) {
    throw new WrongBytes(`status ${response.status}, ${body.byteLength} bytes instead of ${size}`);
  }
  return size;
}

async function post() {
  const sent = crypto.getRandomValues(new Uint8Array(between([1, 5_000])));
  const response = await mixFetch("https://origin.test/echo", { method: "POST", body: sent });
  const { base64 } = await response.json();
  if (base64 !== btoa(String.fromCharCode(...sent))) throw new WrongBytes("another body came back");
  return sent.length;
}

async function resolveName() {
  const address = await mixDNS("short.test");
  if (address !== "203.0.114.10") throw new WrongBytes(`address ${address}`);
  return 0;
}

async function resolveNothing() {
  try {
    await mixDNS(`${seed()}.nowhere.test`);
  } catch (error) {
    if (error.code === "dns_not_found") return 0;
    throw error;
  }
  throw new WrongBytes("an address for a name that does not exist");
}

async function downloads() {
  for (let turn = 0; working(); turn++) {
    await operation("download", () => fetchBody(turn % 2 ? "http://origin.test" : "https://origin.test", DOWNLOAD));
    await sleep(PAUSE);
  }
}

async function smallThings() {
  const works = [
    ["dns", resolveName], ["fetch", () => fetchBody("https://origin.test", SMALL)], ["dns", resolveNothing],
    ["post", post],
  ];
  for (let turn = 0; working(); turn++) {
    await operation(...works[turn % works.length]);
    await sleep(PAUSE);
  }
}

function next(socket) {
  return new Promise((resolve, reject) => {
    socket.onmessage = (event) => resolve(new Uint8Array(event.data));
    socket.onclose = (event) => reject(Object.assign(new Error(event.reason), { code: `closed_${event.code}` }));
    if (socket.readyState > WebSocket.OPEN) {
      reject(Object.assign(new Error("it is closed"), { code: "closed" }));
    }
  });
}

async function echo(socket) {
  const sent = crypto.getRandomValues(new Uint8Array(between([1, 3_000])));
  const answer = next(socket);
  socket.send(sent);
  const got = await answer;
  if (hex(got) !== hex(sent)) throw new WrongBytes(`another echo of ${got.length} bytes`);
  return sent.length;
}

async function websocket() {
  for (; working(); await sleep(PAUSE)) {
    const socket = new MixWebSocket("wss://ws.test/");
    if (!await operation("websocket open", async () => { await socket.opened(); return 0; })) continue;
    let well = true;
    for (let count = 0; count < ECHOES && working() && well; count++) {
      well = await operation("websocket echo", () => echo(socket));
      await sleep(PAUSE);
    }
    await operation("websocket close", () => new Promise((resolve) => {
      if (socket.readyState === WebSocket.CLOSED) return resolve(0);
      socket.onclose = () => resolve(0);
      socket.close();
    }));
  }
}

globalThis.soak = async ({ options, seconds, limit }) => {
  await setupMixTunnel(options);
  say({ event: "ready" });
  until = performance.now() + seconds * 1000;
  deadline = limit * 1000;
  await Promise.all([downloads(), smallThings(), websocket()]);
  const statistics = await (await getMixTunnel()).statistics();
  await disconnectMixTunnel();
  say({ event: "done", statistics });
};
