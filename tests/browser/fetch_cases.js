/**
 * What a page can do with `fetch`, as functions that are run with the browser's own and with `mixFetch` in one page.
 *
 * Each gets `f` (one of the two) and addresses: of a short `text`, an `empty` one, an `endless` one of which the first byte
 * comes, and a `slow` one that never answers. What it returns is compared. Where ours does something else on purpose,
 * `DIFFERENT` has what that is; tests/conformance/fetch.toml tells the reasons to readers.
 */

const kindOf = (e) => e instanceof Error || e instanceof DOMException ? [e.constructor.name, e.name] : [typeof e, String(e)];
const settle = async (work) => {
  let promise;
  try { promise = work(); } catch (error) { return ["thrown", ...kindOf(error)]; }
  const late = new Promise((resolve) => setTimeout(resolve, 3000, "pending"));
  const outcome = promise.then((response) => { void response.body?.cancel().catch(() => {}); return "fulfilled"; },
    (error) => ["rejected", ...kindOf(error)]);
  return Promise.race([outcome, late]);
};
const each = async (make, values) => {
  const all = [];
  for (const value of values) all.push(await settle(() => make(value)));
  return all;
};
// When promises settle, next to microtasks that are counted from now on.
const order = async (promises, ticks = 6) => {
  const log = [];
  for (const [name, promise] of Object.entries(promises)) promise.then(() => log.push(name), () => log.push(name + "!"));
  let tick = Promise.resolve();
  for (let n = 1; n <= ticks; n++) tick = tick.then(() => log.push(n));
  await tick;
  await new Promise((resolve) => setTimeout(resolve, 20));
  return log;
};
const stream = (chunk = new Uint8Array([65])) => new ReadableStream({ start(c) { c.enqueue(chunk); c.close(); } });
const POST = (more) => ({ method: "POST", duplex: "half", ...more });

export const CASES = {
  arguments: {
    "length and kind of function": async ({ f, url }) => {
      return [f.length, typeof f, Object.prototype.toString.call(f(url))];
    },
    "no argument": async ({ f }) => {
      return settle(() => f());
    },
    "input: undefined, null, number, object, URL": async ({ f, url }) => {
      return each((input) => f(input), [undefined, null, 5, {},
      new URL(url), [url], { toString: () => url }, { toString: null, valueOf: () => url }]);
    },
    "input: symbol, and conversions that throw": async ({ f }) => {
      return each((input) => f(input), [Symbol("x"),
      { toString() { throw new RangeError("mine"); } }, Object.create(null), { toString: () => ({}) }]);
    },
    "input: no URL": async ({ f }) => {
      return each((input) => f(input), ["http://", "http://[", "https://:5/",
      "http://host:99999/", "http://a%00b/", "http://1.2.3.4.5.256/"]);
    },
    "input before init": async ({ f }) => {
      const log = [];
      const input = { toString() { log.push("input"); return "http://["; } };
      const init = { get method() { log.push("method"); return "GET"; } };
      return [await settle(() => f(input, init)), log];
    },
    "init: what is no object": async ({ f, url }) => {
      return each((init) => f(url, init), [undefined, null, 5, "x", true, Symbol("x"), 1n, [],
      () => {}, new Date(), new Map()]);
    },
    "init: frozen, without a prototype, from a class": async ({ f, url }) => {
      class Init { #m = "GET"; get method() { return this.#m; } }
      return each((init) => f(url, init), [Object.freeze({ headers: Object.freeze({ a: "b" }) }),
        Object.assign(Object.create(null), { method: "GET" }), new Init(), Object.create({ method: "CONNECT" })]);
    },
    "init: getters throw their own errors": async ({ f, url }) => {
      return each((name) => f(url, { get [name]() { throw new RangeError(name); } }),
      ["body", "cache", "credentials", "headers", "integrity", "keepalive", "method", "mode", "priority", "redirect",
        "referrer", "referrerPolicy", "signal", "window", "duplex"]);
    },
    "init: members are read once, in order": async ({ f, url }) => {
      const log = [];
      const values = { method: "POST", body: "x", headers: { a: "b" } };
      await settle(() => f(url, new Proxy({}, { get(_, name) { log.push(name); return values[name]; } })));
      const ours = ["cookies", "maxRedirects", "allowInsecureRedirects", "timeouts", "onProgress", "isolation"];
      return log.filter((name) => !ours.includes(name));
    },
    "init: this of a getter": async ({ f, url }) => {
      let same;
      const init = { get method() { same = this === init; return "GET"; } };
      return [await settle(() => f(url, init)), same];
    },
    "a Request of another window": async ({ f, url }) => {
      const frame = document.createElement("iframe");
      document.body.append(frame);
      const { Request: Theirs, AbortController: Control, Headers: Fields } = frame.contentWindow;
      const control = new Control();
      control.abort();
      const all = [await settle(() => f(new Theirs(url))), await settle(() => f(url, { headers: new Fields({ a: "b" }) })),
        (await settle(() => f(url, { signal: control.signal })))[0]];
      frame.remove();
      return all;
    },
  },
  init: {
    "method": async ({ f, url }) => {
      return each((method) => f(url, { method }), ["CONNECT", "trace", "TrAcK", "", "GE T", "ü", "a\n", null, 5,
      {}, "get", "Head", Symbol("x")]);
    },
    "cache": async ({ f, url }) => {
      return each((cache) => f(url, { cache }), ["x", "", null, "no-store", "DEFAULT", undefined, 5]);
    },
    "credentials": async ({ f, url }) => {
      return each((credentials) => f(url, { credentials }), ["x", "", null, "omit", "include", true]);
    },
    "mode": async ({ f, url }) => {
      return each((mode) => f(url, { mode }), ["navigate", "x", "", null, "cors", "no-cors", "same-origin",
      "websocket"]);
    },
    "redirect": async ({ f, url }) => {
      return each((redirect) => f(url, { redirect }), ["x", "", null, "follow", "error", "Follow"]);
    },
    "referrer": async ({ f, url }) => {
      return each((referrer) => f(url, { referrer }), ["http://[", "http://", "", "about:client", "no-referrer",
      "https://elsewhere.test/", "x", null, Symbol("x")]);
    },
    "referrerPolicy": async ({ f, url }) => {
      return each((referrerPolicy) => f(url, { referrerPolicy }), ["x", "", null, "origin", "Origin",
      "unsafe-url"]);
    },
    "priority": async ({ f, url }) => {
      return each((priority) => f(url, { priority }), ["x", "high", "low", "auto", null, "High"]);
    },
    "duplex": async ({ f, url }) => {
      return each((duplex) => f(url, { duplex }), ["half", "full", "x", "", null]);
    },
    "window": async ({ f, url }) => {
      return each((window) => f(url, { window }), [null, undefined, globalThis, "x", 0, {}]);
    },
    "signal": async ({ f, url }) => {
      return each((signal) => f(url, { signal }), [null, undefined, {}, new AbortController(), "x", 5,
      new AbortController().signal, AbortSignal.any([]), document]);
    },
    "integrity": async ({ f, url }) => {
      return each((integrity) => f(url, { integrity }), ["", null, undefined, Symbol("x"), "md5-x"]);
    },
    "keepalive": async ({ f, url }) => {
      return each((init) => f(url, init), [{ keepalive: true }, { keepalive: "no" },
      POST({ keepalive: true, body: "x" }), POST({ keepalive: true, body: stream() })]);
    },
    "combined: only-if-cached": async ({ f, url }) => {
      return each((mode) => f(url, { cache: "only-if-cached", mode }), ["cors", "no-cors",
      undefined]);
    },
    "combined: no-cors": async ({ f, url }) => {
      return each((init) => f(url, { mode: "no-cors", ...init }), [{ method: "PUT" }, { method: "DELETE" },
      { method: "HEAD" }, POST({ body: "x" }), { method: "x" }, { integrity: "md5-x" }]);
    },
    "combined: two faults": async ({ f, url }) => {
      const bad = { toString() { throw new RangeError("mine"); } };
      return each((init) => f(url, init), [{ method: bad, mode: "x" }, { cache: "x", signal: 5 }, { headers: 5, method: bad },
        { body: bad, cache: bad }, { method: "GET", body: bad }]);
    },
    "a navigating Request": async ({ f, url }) => {
      return each((mode) => f(new Request(url, { mode }), { referrer: "" }), ["cors", "no-cors"]);
    },
  },
  headers: {
    "forms": async ({ f, url }) => {
      return each((headers) => f(url, { headers }), [{}, [], new Headers(), new Map([["a", "b"]]), [["a", "b"]],
      [new Set(["a", "b"])], new URLSearchParams("a=b"), Object.entries({ a: 1 }), { a: undefined }, { a: null },
      (function* () { yield ["a", "b"]; })(), Object.assign(() => {}, { a: "b" }), new FormData(), new Uint8Array(0)]);
    },
    "what is no form": async ({ f, url }) => {
      return each((headers) => f(url, { headers }), [null, 5, "x", true, Symbol("x"), [["a"]],
      [["a", "b", "c"]], [[]], [1], ["ab"], [null], [{}], [{ length: 2, 0: "a", 1: "b" }], { [Symbol("x")]: "y" },
      new Uint8Array(2), new Map([["a", Symbol("x")]]), { [Symbol.iterator]: 5 }, { [Symbol.iterator]: () => 5 }]);
    },
    "an iterator that is null": async ({ f, url }) => {
      return settle(() => f(url, { headers: { [Symbol.iterator]: null } }));
    },
    "an iterator that throws": async ({ f, url }) => {
      return settle(() => f(url, { headers: { *[Symbol.iterator]() {
      yield ["a", "b"]; throw new RangeError("mine"); } } }));
    },
    "an iterator is closed": async ({ f, url }) => {
      const log = [];
      const headers = { [Symbol.iterator]: () => ({ next: () => ({ done: false, value: 5 }),
        return() { log.push("return"); return {}; } }) };
      return [await settle(() => f(url, { headers })), log];
    },
    "a record is read in order": async ({ f, url }) => {
      const log = [];
      const target = { b: "1", a: "2" };
      Object.defineProperty(target, "hidden", { value: "3", enumerable: false });
      const headers = new Proxy(target, {
        ownKeys(t) { log.push("keys"); return Reflect.ownKeys(t); },
        getOwnPropertyDescriptor(t, k) { log.push("own " + String(k)); return Reflect.getOwnPropertyDescriptor(t, k); },
        get(t, k) { log.push("get " + String(k)); return t[k]; },
      });
      return [await settle(() => f(url, { headers })), log];
    },
    "names": async ({ f, url }) => {
      return each((name) => f(url, { headers: [[name, "v"]] }), ["", " ", "a b", "a:", "ü", "a\n", "a\0", "(", "a/b",
      "{", "x-Y_z.1!#$%&'*+^`|~", "\u0100", "constructor", "__proto__"]);
    },
    "values": async ({ f, url }) => {
      return each((value) => f(url, { headers: { a: value } }), ["", " ", "\t x \t", "\nx\r", "a\nb", "a\rb", "a\0b",
      "\0", "\x0b", "\x0c", "a\x0bb", "a\x0cb", "\x01\x1f\x7f", "\x80\xff", "\u0100", "€", "\ud800", 5, null, [1, 2], {}]);
    },
    "forbidden names are no error": async ({ f, url }) => {
      return each((name) => f(url, { headers: { [name]: "1" } }), ["DNT", "Sec-Fetch-Mode",
      "Proxy-Authorization", "Accept-Encoding", "Accept-Charset", "Access-Control-Request-Method", "Connection",
      "Content-Length", "Cookie", "Cookie2", "Date", "Expect", "Host", "Keep-Alive", "Origin", "Referer", "Set-Cookie",
      "TE", "Trailer", "Transfer-Encoding", "Upgrade", "Via", "X-HTTP-Method"]);
    },
    "forbidden names with bad values are": async ({ f, url }) => {
      return each((name) => f(url, { headers: { [name]: "a\nb" } }), ["DNT", "Cookie",
      "Sec-X", "Host"]);
    },
  },
  body: {
    "with GET and HEAD": async ({ f, url }) => {
      return each((init) => f(url, init), [{ body: "x" }, { body: "" }, { method: "head", body: "x" },
      { body: null }, { body: undefined }, { body: 0 }, { body: false }]);
    },
    "odd values": async ({ f, url }) => {
      return each((body) => f(url, POST({ body })), [5, {}, [], true, Symbol("x"), 1n, () => {},
      { toString() { throw new RangeError("mine"); } }, Object.create(null)]);
    },
    "odd buffers": async ({ f, url }) => {
      const resizable = new ArrayBuffer(4, { maxByteLength: 8 });
      const gone = new Uint8Array(4);
      structuredClone(gone.buffer, { transfer: [gone.buffer] });
      return each((body) => f(url, POST({ body })), [resizable, new Uint8Array(resizable), gone, gone.buffer,
        new WebAssembly.Memory({ initial: 1 }).buffer]);
    },
    "streams: locked, disturbed, closed": async ({ f, url }) => {
      const locked = stream();
      locked.getReader();
      const disturbed = stream();
      const reader = disturbed.getReader();
      await reader.read();
      reader.releaseLock();
      const cancelled = stream();
      await cancelled.cancel();
      return each((body) => f(url, POST({ body })), [locked, disturbed, cancelled]);
    },
    "a Request whose body was used": async ({ f, url }) => {
      const used = new Request(url, POST({ body: "x" }));
      await used.text();
      const locked = new Request(url, POST({ body: "x" }));
      locked.body.getReader();
      const twice = new Request(url, POST({ body: "x" }));
      await settle(() => f(twice));
      return each((input) => f(input), [used, locked, twice]);
    },
    "a used Request with a body of init": async ({ f, url }) => {
      const used = new Request(url, POST({ body: "x" }));
      await used.text();
      return [await settle(() => f(used, { body: "y" })), await settle(() => f(used, { body: null })), used.bodyUsed];
    },
    "a Request with another method": async ({ f, url }) => {
      const ask = () => new Request(url, POST({ body: "x" }));
      return [await settle(() => f(ask(), { method: "GET" })), await settle(() => f(ask(), { method: "PUT" })),
        await settle(() => f(ask(), { method: "HEAD", body: null })), await settle(() => f(new Request(url), { body: "x" }))];
    },
    "what is used afterwards": async ({ f, url }) => {
      const all = [];
      for (const init of [{}, { mode: "x" }, { signal: AbortSignal.abort() }, { body: "other" }, { method: "GET" }]) {
        const ask = new Request(url, POST({ body: "x" }));
        const done = settle(() => f(ask, init));
        all.push([ask.bodyUsed, await done, ask.bodyUsed]);
      }
      return all;
    },
    "a stream is locked at once": async ({ f, slow }) => {
      const body = stream();
      const done = settle(() => f(slow, POST({ body, signal: AbortSignal.timeout(50) })));
      const at = body.locked;
      await done;
      return [at, body.locked];
    },
    "a stream that is refused stays free": async ({ f, url }) => {
      const body = stream();
      return [await settle(() => f(url, POST({ body, mode: "x" }))), body.locked];
    },
    "duplex may not be missing": async ({ f, url }) => {
      return settle(() => f(url, { method: "POST", body: stream() }));
    },
  },
  abort: {
    "aborted before: at once, with its reason": async ({ f, slow }) => {
      const reason = { mine: true };
      const promise = f(slow, { signal: AbortSignal.abort(reason) });
      return [await order({ promise }), await promise.catch((error) => error === reason)];
    },
    "reasons of every kind": async ({ f, slow }) => {
      const all = [];
      for (const reason of [undefined, null, 0, "", false, "x", new RangeError("r"), Symbol.iterator, 5n]) {
        const early = await f(slow, { signal: AbortSignal.abort(reason) }).catch((error) => kindOf(error));
        const control = new AbortController();
        const pending = f(slow, { signal: control.signal }).catch((error) => [kindOf(error), error === control.signal.reason]);
        control.abort(reason);
        all.push([early, await pending]);
      }
      return all;
    },
    "reasons of every kind in the body": async ({ f, endless }) => {
      const all = [];
      for (const reason of [undefined, null, 0, "x", new RangeError("r")]) {
        const control = new AbortController();
        const response = await f(endless, { signal: control.signal });
        const reading = response.text().catch((error) => error === control.signal.reason);
        control.abort(reason);
        all.push(await reading);
      }
      return all;
    },
    "while it waits: in the turn of the abort": async ({ f, slow }) => {
      const control = new AbortController();
      const promise = f(slow, { signal: control.signal });
      promise.catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, 30));
      control.abort();
      return order({ promise });
    },
    "listeners of the page come first": async ({ f, slow }) => {
      const control = new AbortController();
      const log = [];
      const promise = f(slow, { signal: control.signal }).catch(() => log.push("rejected"));
      control.signal.addEventListener("abort", () => { log.push("event"); queueMicrotask(() => log.push("microtask")); });
      control.abort();
      log.push("after");
      await promise;
      return log;
    },
    "refusals come before aborts": async ({ f, url }) => {
      return each((init) => f(url, { signal: AbortSignal.abort(), ...init }), [{ method: "TRACE" },
      { mode: "navigate" }, { headers: 5 }, { body: "x" }, { window: "x" }, { referrer: "http://[" }]);
    },
    "an address that is none before an abort": async ({ f }) => {
      return settle(() => f("http://[", { signal: AbortSignal.abort() }));
    },
    "the signal of a Request": async ({ f, url, slow }) => {
      const spent = new Request(slow, { signal: AbortSignal.abort() });
      const control = new AbortController();
      const live = new Request(slow, { signal: control.signal });
      const clone = live.clone();
      const again = new Request(live);
      const all = [f(live), f(clone), f(again), f(live, { signal: undefined })].map((one) => settle(() => one));
      control.abort();
      return [await settle(() => f(spent)), await settle(() => f(spent.clone())),
        await settle(() => f(new Request(url, { signal: AbortSignal.abort() }), { signal: null })), await Promise.all(all)];
    },
    "the signal of init goes over that of a Request": async ({ f, url, slow }) => {
      const spent = new Request(url, { signal: AbortSignal.abort() });
      return [await settle(() => f(spent, { signal: new AbortController().signal })),
        await settle(() => f(new Request(slow), { signal: AbortSignal.abort() }))];
    },
    "any and timeout": async ({ f, slow }) => {
      const control = new AbortController();
      const signal = AbortSignal.any([control.signal, new AbortController().signal]);
      const pending = settle(() => f(slow, { signal }));
      control.abort();
      return [await pending, await settle(() => f(slow, { signal: AbortSignal.timeout(20) })),
        await settle(() => f(slow, { signal: AbortSignal.any([AbortSignal.abort("x")]) }))];
    },
    "a body stream is cancelled at once": async ({ f, slow }) => {
      let cancelled = null;
      const reason = new RangeError("mine");
      const body = new ReadableStream({ pull(c) { c.enqueue(new Uint8Array(1)); }, cancel(why) { cancelled = why; } });
      const promise = f(slow, POST({ body, signal: AbortSignal.abort(reason) }));
      return [cancelled === reason, await promise.catch((error) => error === reason)];
    },
    "one signal for many": async ({ f, slow }) => {
      const control = new AbortController();
      const all = [1, 2, 3].map(() => settle(() => f(slow, { signal: control.signal })));
      control.abort();
      return Promise.all([...all, settle(() => f(slow, { signal: control.signal }))]);
    },
    "aborted after the header: each way to read, at once": async ({ f, endless }) => {
      const all = [];
      for (const way of ["arrayBuffer", "blob", "bytes", "formData", "json", "text"]) {
        const control = new AbortController();
        const response = await f(endless, { signal: control.signal });
        control.abort();
        const promise = response[way]();
        all.push([await order({ promise }), response.bodyUsed, await promise.catch(kindOf)]);
      }
      return all;
    },
    "aborted while it is read": async ({ f, endless }) => {
      const all = [];
      for (const way of ["arrayBuffer", "blob", "bytes", "json", "text"]) {
        const control = new AbortController();
        const response = await f(endless, { signal: control.signal });
        const promise = response[way]();
        await new Promise((resolve) => setTimeout(resolve, 20));
        control.abort();
        all.push(await promise.catch(kindOf));
      }
      return all;
    },
    "aborted with a reader": async ({ f, endless }) => {
      const control = new AbortController();
      const reader = (await f(endless, { signal: control.signal })).body.getReader();
      const first = await reader.read();
      control.abort();
      const promises = { read: reader.read(), closed: reader.closed };
      return [first.done, await order(promises), ...await Promise.all(Object.values(promises).map((p) => p.catch(kindOf)))];
    },
    "a clone breaks too": async ({ f, endless }) => {
      const control = new AbortController();
      const one = await f(endless, { signal: control.signal });
      const two = one.clone();
      control.abort();
      return Promise.all([one, two].map((response) => response.text().catch(kindOf)));
    },
    "an empty body has ended before": async ({ f, empty }) => {
      const control = new AbortController();
      const reader = (await f(empty, { signal: control.signal })).body.getReader();
      control.abort();
      return (await reader.read().catch(kindOf)).done;
    },
    "aborted after the end": async ({ f, url }) => {
      const control = new AbortController();
      const response = await f(url, { signal: control.signal });
      const text = await response.text();
      control.abort();
      return [text.length > 0, response.bodyUsed, await response.text().catch(kindOf)];
    },
  },
  response: {
    "prototype, tag, type": async ({ f, url }) => {
      const r = await f(url);
      return [r instanceof Response, String(r), r.type, r.ok, r.status, r.statusText, r.redirected, r.url === url, r.bodyUsed,
        r.body instanceof ReadableStream, r.body === r.body, r.headers === r.headers];
    },
    "the URL has no fragment": async ({ f, url }) => {
      const r = await f(url + "#part");
      return [r.url === url, r.clone().url === url];
    },
    "headers cannot be changed": async ({ f, url }) => {
      const { headers } = await f(url);
      const all = [];
      for (const work of [() => headers.set("a", "b"), () => headers.append("a", "b"), () => headers.delete("a"),
        () => headers.delete("content-type"), () => headers.set("a b", "c"), () => headers.set("a")]) {
        try { work(); all.push("fine"); } catch (error) { all.push(kindOf(error)); }
      }
      return [all, headers.has("content-type"), Object.prototype.toString.call(headers)];
    },
    "read once": async ({ f, url }) => {
      const all = [];
      for (const way of ["arrayBuffer", "blob", "bytes", "formData", "json", "text"]) {
        const r = await f(url);
        await r.text();
        all.push([r.bodyUsed, await r[way]().catch(kindOf), r.body.locked]);
      }
      return all;
    },
    "locked, then read": async ({ f, url }) => {
      const r = await f(url);
      const reader = r.body.getReader();
      const refused = await r.text().catch(kindOf);
      reader.releaseLock();
      return [refused, r.bodyUsed, (await r.text()).length > 0, r.bodyUsed];
    },
    "disturbed, then read": async ({ f, url }) => {
      const r = await f(url);
      const reader = r.body.getReader();
      await reader.read();
      reader.releaseLock();
      let clone;
      try { r.clone(); } catch (error) { clone = kindOf(error); }
      return [r.bodyUsed, await r.text().catch(kindOf), clone];
    },
    "cancelled": async ({ f, endless }) => {
      const r = await f(endless);
      const first = await r.body.cancel("why").then((value) => String(value), kindOf);
      return [first, r.bodyUsed, await r.text().catch(kindOf)];
    },
    "clones": async ({ f, url }) => {
      const one = await f(url);
      const two = one.clone();
      const three = two.clone();
      const texts = await Promise.all([one.text(), two.text(), three.text()]);
      let after;
      try { one.clone(); } catch (error) { after = kindOf(error); }
      return [new Set(texts).size, one !== two, two.headers !== one.headers, two.type, after];
    },
    "into other objects": async ({ f, url }) => {
      const r = await f(url);
      const copy = new Response(r.body, r);
      return [copy.status, copy.headers.has("content-type"), (await copy.text()).length > 0, r.bodyUsed,
        await settle(async () => new Response(r.body))];
    },
    "type of a blob, wrong form, wrong JSON": async ({ f, url }) => {
      return [(await (await f(url)).blob()).type,
      await (await f(url)).formData().catch(kindOf), await (await f(url)).json().catch(kindOf)];
    },
    "Object.prototype is the page's": async ({ f, url }) => {
      const all = [];
      for (const name of ["start", "pull", "cancel", "type", "size", "highWaterMark", "autoAllocateChunkSize"]) {
        Object.defineProperty(Object.prototype, name, { configurable: true, get() { throw new RangeError(name); } });
        try {
          all.push(await settle(() => f(url)));
        } finally {
          delete Object.prototype[name];
        }
      }
      return all;
    },
    "data: URLs": async ({ f }) => {
      const all = [];
      for (const [input, init] of [["data:text/x;charset=utf-8,%41"], ["data:,x", { method: "HEAD" }], ["data:;base64,QQ=="],
        ["data:,x", { method: "POST", body: "y" }], ["data:,x", { integrity: "sha256-AAAA" }], ["data:x"], ["data:;base64,!"],
        ["data:,x#y"], ["data:,x", { signal: AbortSignal.abort() }]]) {
        all.push(await f(input, init).then(async (r) => [r.status, r.statusText, r.type, r.url, r.headers.get("content-type"),
          await r.text()], (error) => [error.name, error instanceof TypeError]));
      }
      return all;
    },
    "blob: URLs": async ({ f }) => {
      const blob = URL.createObjectURL(new Blob(["abcdef"], { type: "text/x" }));
      const all = [];
      for (const init of [{}, { headers: { Range: "bytes=1-2" } }, { headers: { Range: "bytes=9-" } }, { method: "POST" }]) {
        all.push(await f(blob, init).then(async (r) => [r.status, r.type, r.url === blob, r.headers.get("content-type"),
          r.headers.get("content-range"), await r.text()], (error) => [error.name, error instanceof TypeError]));
      }
      URL.revokeObjectURL(blob);
      return [all, await f(blob).catch((error) => [error.name, error instanceof TypeError])];
    },
    "schemes that are none of the web's": async ({ f }) => {
      const all = [];
      for (const input of ["about:blank", "about:unicorn", "file:///x", "javascript:1", "mailto:x", "ws://h/", "blob:x", "x:y"]) {
        all.push(await f(input).catch((error) => [error.name, error instanceof TypeError]));
      }
      return all;
    },
  },
};

/** By kind and name: what ours gives. */
export const DIFFERENT = {
  body: {
    // A stream says by itself that it is one.
    "duplex may not be missing": "fulfilled",
  },
  abort: {
    // As the standard and the web platform tests have it; Chromium cancels later, or tells an abort of what has ended.
    "a body stream is cancelled at once": [true, true],
    "an empty body has ended before": true,
  },
};

/** `init` of a request whose head is compared, byte by byte. */
export const SENT = {
  "names as they are written, joined under the first": () => ({ headers: [["THIS-is-A-test", 1], ["X-Z", "1"], ["THIS-IS-A-TEST", 2], ["aB", "c"], ["x-a", "2"]] }),
  "names of a record": () => ({ headers: { "X-One": "1", "x-one": "2", Zz: "3" } }),
  "names of Headers": () => ({ headers: new Headers({ "X-Foo-BAR": "1" }) }),
  "the type of a body": () => ({ method: "POST", body: "x", headers: { "x-a": "b" } }),
  "a type of one's own": () => ({ method: "POST", body: "x", headers: { "CONTENT-type": "b/c" } }),
  "the type of a blob": () => ({ method: "PUT", body: new Blob(["x"], { type: "X/y;Z" }) }),
  "no type": () => ({ method: "POST", body: new Uint8Array(3) }),
  "no body": () => ({ method: "POST" }),
  "control characters": () => ({ headers: { "X-A": "x\x0by", "X-B": "x\x0cy", "X-C": "\x01\x1f\x7f" } }),
  "white space around": () => ({ headers: { "X-A": "\t x \r\n", "X-B": "\x0c x \x0b", "X-C": "", "X-D": "  " } }),
  "Latin-1": () => ({ headers: { "X-A": "\x80\xff", "X-B": "grüße" } }),
  "what Fetch forbids": () => ({ headers: Object.fromEntries(["DNT", "Sec-Foo", "Proxy-X", "Accept-Charset", "Cookie2", "Date", "Access-Control-Request-Method", "Access-Control-Request-Headers", "Expect", "Keep-Alive", "TE", "Trailer", "Upgrade", "Via", "Set-Cookie", "Sec-", "Proxy-", "X-HTTP-Method", "X-Http-Method-Override", "X-METHOD-override"].map((name) => [name, "trace"])) }),
  "what only looks like it": () => ({ headers: Object.fromEntries(["Set-Cookie2", "Sec", "Proxy", "X-Forwarded-For", "Range", "X-HTTP-Method-Overridden", "Referrer", "Priority", "Early-Data"].map((name) => [name, "trace"])) }),
  "methods that are not hidden": () => ({ headers: { "X-HTTP-Method": "PUT", "x-http-method-override": "GET, \"a,TRACE\"", "X-Method-Override": "," } }),
  "its own Accept and the like": () => ({ headers: { ACCEPT: "x/y", "accept-LANGUAGE": "de" } }),
  "a method in lower case": () => ({ method: "patch", headers: { "X-A": "1" } }),
};
