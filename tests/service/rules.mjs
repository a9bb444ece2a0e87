// The rules of the Service Worker by themselves: node --test tests/service/rules.mjs
import assert from "node:assert/strict";
import { test } from "node:test";
import { checkCors, checkOpaque, exposed, Preflights } from "../../javascript/service/cors.js";
import { headersOf, headersOfPage, refererOf } from "../../javascript/service/outgoing.js";
import { Queue } from "../../javascript/service/queue.js";

const PAGE = "https://page.example";
const ALLOW = "access-control-allow-origin";
const answer = (headers, url = "https://o.example/a", status = 200) =>
  ({ headers: new Headers(headers), url, ok: status < 300, status, body: null });
const reason = (work) => {
  try {
    work();
    return null;
  } catch (error) {
    assert.equal(error.code, "cors_refused");
    return error.reason;
  }
};

test("the CORS check", () => {
  const check = (headers, credentials = false, origin = PAGE) => reason(() => checkCors(answer(headers), origin, credentials));
  assert.equal(check({}), "allow_origin");
  assert.equal(check({ [ALLOW]: "*" }), null);
  assert.equal(check({ [ALLOW]: "*" }, true), "allow_origin");
  assert.equal(check({ [ALLOW]: PAGE }), null);
  assert.equal(check({ [ALLOW]: `${PAGE}/` }), "allow_origin");
  assert.equal(check({ [ALLOW]: `${PAGE}, ${PAGE}` }), "allow_origin");
  assert.equal(check({ [ALLOW]: PAGE }, true), "credentials");
  assert.equal(check({ [ALLOW]: PAGE, "access-control-allow-credentials": "True" }, true), "credentials");
  assert.equal(check({ [ALLOW]: PAGE, "access-control-allow-credentials": "true" }, true), null);
  assert.equal(check({ [ALLOW]: PAGE }, false, "null"), "allow_origin");
  assert.equal(check({ [ALLOW]: "null" }, false, "null"), null);
});

test("preflights: asked where the standard asks, and kept for their life", async () => {
  const preflights = new Preflights();
  const asked = [];
  let given = { [ALLOW]: "*", "access-control-allow-methods": "PUT", "access-control-allow-headers": "x-a", "access-control-max-age": "60" };
  const ask = async (url, init) => (asked.push(init), answer(given));
  const check = async (method, headers, more = {}) => {
    const before = asked.length;
    try {
      await preflights.check({ url: "https://o.example/a", method, headers, origin: PAGE, credentials: false, referer: "", ...more }, ask);
      return asked.length - before;
    } catch (error) {
      return error.reason;
    }
  };
  const simple = [["content-type", "text/plain; charset=utf-8"], ["range", "bytes=0-9"], ["accept", "*/*"], ["content-language", "de"]];
  assert.equal(await check("POST", simple), 0);
  assert.equal(await check("PUT", [["x-a", "1"]]), 1);
  assert.equal(await check("PUT", [["x-a", "2"]]), 0);
  assert.equal(await check("PATCH", []), "method");
  assert.equal(await check("GET", [["x-b", "1"]]), "header");
  for (const header of [["content-type", "application/json"], ["range", "bytes=-5"], ["range", "bytes=0-1,3-4"], ["accept", "a\x01"], ["accept", "a".repeat(129)]]) {
    assert.equal(await check("GET", [header]), "header", header.join());
  }
  given = { [ALLOW]: "*", "access-control-allow-methods": "*", "access-control-allow-headers": "*" };
  assert.equal(await check("PATCH", [["x-c", "1"]]), 1);
  assert.equal(await check("GET", [["authorization", "x"]]), "header"); // never by a star
  assert.equal(await check("PATCH", [], { credentials: true }), "allow_origin");
  assert.deepEqual(Object.keys(asked[0].headers), ["Accept", "Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"]);
  assert.equal(asked[0].cookies, "omit");
});

test("headers that a script sees", () => {
  const seen = (headers, credentials = false) => [...exposed(new Headers(headers), credentials).keys()];
  assert.deepEqual(seen({ "x-a": "1", "content-type": "t", "set-cookie": "a=b" }), ["content-type"]);
  assert.deepEqual(seen({ "x-a": "1", "x-b": "2", "access-control-expose-headers": "X-A" }), ["x-a"]);
  assert.deepEqual(seen({ "x-a": "1", "access-control-expose-headers": "*" }), ["access-control-expose-headers", "x-a"]);
  assert.deepEqual(seen({ "x-a": "1", "access-control-expose-headers": "*" }, true), []);
  assert.deepEqual(seen({ "content-encoding": "gzip", "content-length": "9", "content-type": "t" }), ["content-type"]);
});

test("what is no picture, style or script", () => {
  const check = (type, destination, more = {}) => reason(() => checkOpaque(answer({ "content-type": type, ...more }), destination, PAGE));
  for (const type of ["image/png", "image/svg+xml", "application/octet-stream", ""]) assert.equal(check(type, "image"), null, type);
  for (const type of ["text/html; charset=utf-8", "application/json", "application/ld+json", "text/xml", "application/atom+xml", "text/csv"]) {
    assert.equal(check(type, "image"), "type", type);
    assert.equal(check(type, "script"), "type", type);
  }
  assert.equal(check("text/plain", "script"), null);
  assert.equal(check("text/plain", "script", { "x-content-type-options": "nosniff" }), "type");
  assert.equal(check("text/css", "style"), null);
  assert.equal(check("text/plain", "style"), "type");
  const policy = (value, url) => reason(() => checkOpaque(answer({ "cross-origin-resource-policy": value }, url), "image", PAGE));
  assert.equal(policy("same-origin"), "resource_policy");
  assert.equal(policy("same-site"), "resource_policy");
  assert.equal(policy("same-site", "https://img.page.example/"), null);
  assert.equal(policy("same-site", "https://otherpage.example/"), "resource_policy");
  assert.equal(policy("cross-origin"), null);
});

test("Referer by its policy", () => {
  const referer = (referrerPolicy, referrer = `${PAGE}/a?b#c`, url = "https://o.example/") => refererOf({ referrer, referrerPolicy, url }, `${PAGE}/client`);
  assert.equal(referer(""), `${PAGE}/`);
  assert.equal(referer("unsafe-url"), `${PAGE}/a?b`);
  assert.equal(referer("unsafe-url", "about:client"), `${PAGE}/client`);
  assert.equal(referer("unsafe-url", ""), "");
  assert.equal(referer("unsafe-url", `${PAGE}/${"x".repeat(5000)}`), `${PAGE}/`);
  for (const policy of ["no-referrer", "same-origin"]) assert.equal(referer(policy), "");
  for (const policy of ["", "strict-origin", "no-referrer-when-downgrade"]) assert.equal(referer(policy, undefined, "http://o.example/"), "");
  assert.equal(referer("origin", undefined, "http://o.example/"), `${PAGE}/`);
  assert.equal(referer("no-referrer-when-downgrade"), `${PAGE}/a?b`);
});

test("headers that leave", () => {
  const request = (given, more = {}) => ({ headers: new Headers(given), mode: "cors", method: "GET", cache: "default", destination: "", ...more });
  const told = { "user-agent": "x", "accept-language": "tlh", "sec-ch-ua": "x", dpr: "2", cookie: "a", "x-own": "1", accept: "text/x" };
  assert.deepEqual(headersOfPage(request(told)), [["x-own", "1"], ["accept", "text/x"]]);
  assert.deepEqual(headersOfPage(request(told, { destination: "image" })), []);
  const media = { range: "bytes=0-", "icy-metadata": "1", "if-range": '"a"' };
  assert.deepEqual(headersOfPage(request(media, { destination: "video" })), [["range", "bytes=0-"]]);
  const sent = (more) => Object.fromEntries(headersOf(request({}, more), [], PAGE, "r"));
  assert.deepEqual(sent({}), { Accept: "*/*", Origin: PAGE, Referer: "r" });
  assert.deepEqual(sent({ mode: "no-cors", destination: "style" }), { Accept: "text/css,*/*;q=0.1", Referer: "r" });
  assert.equal(sent({ mode: "no-cors", method: "POST" }).Origin, PAGE);
  assert.equal(sent({ cache: "reload" })["Cache-Control"], "no-cache");
  assert.equal(sent({ cache: "no-cache" })["Cache-Control"], "max-age=0");
});

test("the queue: what a page shows first goes before, pictures leave places, an abort leaves the queue", async () => {
  const queue = new Queue();
  const control = new AbortController(), { signal } = new AbortController();
  const order = [], inside = [];
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  for (let n = 0; n < 32; n += 1) inside.push(await queue.enter("o", "image", signal));
  const late = ["audio", "image", "", "font", "style"].map(async (destination) => {
    const leave = await queue.enter("o", destination, signal);
    order.push(destination);
    return leave;
  });
  const aborted = assert.rejects(queue.enter("o", "image", control.signal));
  await turn();
  assert.deepEqual(order, ["", "font", "style"]); // there was room for them, as they came
  (await queue.enter("other", "image", signal))();
  control.abort();
  await aborted;
  for (const leave of inside) leave();
  for (const leave of await Promise.all(late)) leave();
  assert.deepEqual(order, ["", "font", "style", "image", "audio"]);
  const full = [];
  for (let n = 0; n < 40; n += 1) full.push(await queue.enter("o", "", signal));
  order.length = 0;
  const waiting = ["image", "", "style"].map((one) => queue.enter("o", one, signal).then((leave) => (order.push(one), leave)));
  for (const leave of full) leave();
  for (const leave of await Promise.all(waiting)) leave();
  assert.deepEqual(order, ["style", "", "image"]);
});
