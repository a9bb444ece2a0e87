/**
 * XMLHttpRequest and EventSource: one script for the browser's own class and for the tunnel's; what it traces must be equal.
 *
 * `C` is the class, `url(path)` an address of the server (tests/browser/test_page_interfaces.py says what lies there). The
 * caller rejects what does not end. `DIFFERENT` names the cases in which the outcome differs on purpose, with the reason.
 */

const named = (error) => `${error.constructor.name} ${error.name}`;
const thrown = (work) => { try { return ["returned", work()]; } catch (error) { return named(error); } };
const latin = (buffer) => Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join("");

/** All events of an object and its upload, in order; how often there is progress on the way is not compared. */
function traced(xhr) {
  const lines = [];
  const add = (line) => { if (lines.at(-1) !== line) lines.push(line); };
  const note = (prefix) => (event) => {
    if (event.type === "readystatechange") add(`state ${xhr.readyState} ${xhr.status}`);
    else if (event.type === "progress" && event.loaded !== event.total) prefix || add(`progress ${event.lengthComputable}`);
    else add(`${prefix}${event.type} ${event.loaded}/${event.total} ${event.lengthComputable} at ${xhr.readyState}`);
  };
  for (const type of ["readystatechange", "loadstart", "progress", "abort", "error", "load", "timeout", "loadend"]) {
    xhr.addEventListener(type, note(""));
    if (type !== "readystatechange") xhr.upload.addEventListener(type, note("upload."));
  }
  return lines;
}

const ended = (xhr) => new Promise((resolve) => xhr.addEventListener("loadend", resolve));

/** Opens, sends, waits; gives the events and what `look` sees afterwards. */
async function ran(C, address, { method = "GET", body = null, before = () => {}, look = () => null } = {}) {
  const xhr = new C();
  const lines = traced(xhr);
  xhr.open(method, address);
  before(xhr);
  xhr.send(body);
  await ended(xhr);
  return [lines, look(xhr)];
}

const asked = (xhr) => {  // what the server got, without what only browsers send
  const { method, headers, body } = JSON.parse(xhr.responseText);
  return [method, headers.filter(([name]) => ["content-type", "x-one", "x-two"].includes(name)), body];
};

export const CASES = {
  xhr: {
    "a text": ({ C, url }) => ran(C, url("text"), { look: (x) => [x.status, x.statusText, x.responseText, x.response, x.responseXML, x.getResponseHeader("Content-Type"), x.getResponseHeader("none"), x.responseURL.endsWith("/text")] }),
    "constants": ({ C }) => [C.UNSENT, C.OPENED, C.HEADERS_RECEIVED, C.LOADING, C.DONE, new C().DONE, Object.keys(C).sort(), String(new C().upload instanceof EventTarget)],
    "at first": ({ C }) => { const x = new C(); return [x.readyState, x.status, x.statusText, x.responseText, x.response, x.responseType, x.responseURL, x.timeout, x.withCredentials, x.getAllResponseHeaders(), x.getResponseHeader("a"), x.onload]; },
    "methods": ({ C, url }) => ["get", "PoSt", "patch", "chicken", "CONNECT", "trace", "TRACK", "a b", ""].map((method) => thrown(() => new C().open(method, url("text")))),
    "urls": ({ C }) => ["http://[", "http://a b/", ""].map((address) => thrown(() => new C().open("GET", address))),
    "too few arguments": ({ C }) => [() => new C().open("GET"), () => { const x = new C(); x.open("GET", "/"); x.setRequestHeader("a"); }].map(thrown),
    "order of calls": ({ C, url }) => {
      const unsent = new C();
      const opened = new C();
      opened.open("GET", url("endless"));
      opened.send();
      const outcomes = [() => unsent.send(), () => unsent.setRequestHeader("a", "b"), () => opened.send(), () => opened.setRequestHeader("a", "b"), () => { opened.withCredentials = true; }].map(thrown);
      opened.abort();
      return outcomes;
    },
    "bad headers": ({ C, url }) => [["a b", "c"], ["", "c"], ["a", "b\nc"], ["a", "b\0c"], ["a", "\u0100"], ["a", " b "]].map(([name, value]) => thrown(() => { const x = new C(); x.open("GET", url("text")); x.setRequestHeader(name, value); })),
    "headers are combined and trimmed": ({ C, url }) => ran(C, url("echo"), { before: (x) => { x.setRequestHeader("X-One", " a "); x.setRequestHeader("x-one", "b"); x.setRequestHeader("X-Two", ""); }, look: asked }),
    "all headers": ({ C, url }) => ran(C, url("headers"), { look: (x) => x.getAllResponseHeaders().split("\r\n").filter((line) => !/^(date|connection|keep-alive|server)/.test(line)) }),
    "post of a text": ({ C, url }) => ran(C, url("echo"), { method: "POST", body: "b\u00e9", look: asked }),
    "post with another charset": ({ C, url }) => ran(C, url("echo"), { method: "POST", body: "\u00e9", before: (x) => x.setRequestHeader("Content-Type", "text/x-y; charset=iso-8859-1; a=b"), look: asked }),
    "post with a charset in other letters": ({ C, url }) => ran(C, url("echo"), { method: "POST", body: "\u00e9", before: (x) => x.setRequestHeader("Content-Type", "text/x-y; charset=utf-8"), look: asked }),
    "post with a type that is none": ({ C, url }) => ran(C, url("echo"), { method: "POST", body: "a", before: (x) => x.setRequestHeader("Content-Type", "nothing"), look: asked }),
    "post of parameters": ({ C, url }) => ran(C, url("echo"), { method: "POST", body: new URLSearchParams({ a: "b c" }), look: asked }),
    "post of bytes": ({ C, url }) => ran(C, url("echo"), { method: "POST", body: new Uint8Array([65, 66]), look: asked }),
    "post of a blob": ({ C, url }) => ran(C, url("echo"), { method: "POST", body: new Blob(["xyz"], { type: "text/z" }), look: asked }),
    "post of a document": ({ C, url }) => ran(C, url("echo"), { method: "POST", body: new DOMParser().parseFromString("<a><b/></a>", "application/xml"), look: asked }),
    "post of an HTML document": ({ C, url }) => ran(C, url("echo"), { method: "POST", body: new DOMParser().parseFromString("<p>h", "text/html"), look: asked }),
    "post of nothing": ({ C, url }) => ran(C, url("echo"), { method: "POST", look: asked }),
    "the body of a GET": ({ C, url }) => ran(C, url("echo"), { body: "gone", look: asked }),
    "a larger upload": ({ C, url }) => ran(C, url("length"), { method: "POST", body: new Uint8Array(300_000), look: (x) => x.responseText }),
    "HEAD": ({ C, url }) => ran(C, url("text"), { method: "HEAD", look: (x) => [x.responseText, x.getResponseHeader("content-length")] }),
    "status 404": ({ C, url }) => ran(C, url("missing"), { look: (x) => [x.status, x.responseText] }),
    "status 204": ({ C, url }) => ran(C, url("nothing"), { look: (x) => [x.status, x.response] }),
    "redirect": ({ C, url }) => ran(C, url("moved#there"), { look: (x) => [x.status, x.responseURL.endsWith("/text")] }),
    "arraybuffer": ({ C, url }) => ran(C, url("latin"), { before: (x) => { x.responseType = "arraybuffer"; }, look: (x) => [latin(x.response), x.response === x.response, thrown(() => x.responseText), thrown(() => x.responseXML)] }),
    "arraybuffer of nothing": ({ C, url }) => ran(C, url("nothing"), { before: (x) => { x.responseType = "arraybuffer"; }, look: (x) => x.response.byteLength }),
    "json": ({ C, url }) => ran(C, url("json"), { before: (x) => { x.responseType = "json"; }, look: (x) => [x.response, x.response === x.response] }),
    "json with a mark": ({ C, url }) => ran(C, url("bomjson"), { before: (x) => { x.responseType = "json"; }, look: (x) => x.response }),
    "json that is none": ({ C, url }) => ran(C, url("text"), { before: (x) => { x.responseType = "json"; }, look: (x) => x.response }),
    "document": ({ C, url }) => ran(C, url("html"), { before: (x) => { x.responseType = "document"; }, look: (x) => [x.response.title, x.responseXML === x.response] }),
    "document of a text": ({ C, url }) => ran(C, url("text"), { before: (x) => { x.responseType = "document"; }, look: (x) => x.response }),
    "document with its own charset": ({ C, url }) => ran(C, url("metahtml"), { before: (x) => { x.responseType = "document"; }, look: (x) => x.response.title }),
    "HTML without a type": ({ C, url }) => ran(C, url("html"), { look: (x) => [x.responseXML, x.responseText.length > 0] }),
    "XML": ({ C, url }) => ran(C, url("xml"), { look: (x) => [x.responseXML.documentElement.nodeName, x.responseXML.documentElement.textContent, x.responseText] }),
    "XML that is broken": ({ C, url }) => ran(C, url("badxml"), { look: (x) => x.responseXML }),
    "XML with its own encoding": ({ C, url }) => ran(C, url("latinxml"), { look: (x) => [x.responseXML.documentElement.textContent, x.responseText] }),
    "an overridden type": ({ C, url }) => ran(C, url("latin"), { before: (x) => x.overrideMimeType("text/plain; charset=iso-8859-1"), look: (x) => x.responseText }),
    "an overridden type that is none": ({ C, url }) => ran(C, url("xml"), { before: (x) => x.overrideMimeType("nothing"), look: (x) => x.responseXML }),
    "overridden to XML": ({ C, url }) => ran(C, url("xmlastext"), { before: (x) => x.overrideMimeType("application/xml"), look: (x) => x.responseXML.documentElement.nodeName }),
    "the charset of the response": ({ C, url }) => ran(C, url("charset"), { look: (x) => x.responseText }),
    "a byte order mark": ({ C, url }) => ran(C, url("utf16"), { look: (x) => x.responseText }),
    "an unknown charset": ({ C, url }) => ran(C, url("nocharset"), { look: (x) => x.responseText }),
    "an unknown type of response": ({ C, url }) => ran(C, url("text"), { before: (x) => { x.responseType = "moz-blob"; }, look: (x) => x.responseType }),
    "responseType too late": ({ C, url }) => ran(C, url("text"), { look: (x) => [thrown(() => { x.responseType = "json"; }), thrown(() => x.overrideMimeType("a/b"))] }),
    "a text that grows": async ({ C, url }) => {
      const x = new C();
      const seen = new Set();
      x.open("GET", url("drip"));
      x.onprogress = () => seen.add(x.responseText);
      x.send();
      await ended(x);
      return [x.responseText, [...seen].every((part) => x.responseText.startsWith(part)), seen.size > 1];
    },
    "the connection is refused": ({ C, url }) => ran(C, url("text", true), { look: (x) => [x.status, x.statusText, x.responseText, x.getAllResponseHeaders()] }),
    "a body that breaks": ({ C, url }) => ran(C, url("broken"), { look: (x) => [x.status, x.responseText, x.readyState] }),
    "an upload that is refused": ({ C, url }) => ran(C, url("text", true), { method: "POST", body: "abc" }),
    "timeout": ({ C, url }) => ran(C, url("endless"), { before: (x) => { x.timeout = 200; }, look: (x) => [x.status, x.readyState] }),
    "timeout in an upload's answer": ({ C, url }) => ran(C, url("silent"), { method: "POST", body: "a", before: (x) => { x.timeout = 4000; } }),
    "timeout set later": async ({ C, url }) => {
      const x = new C();
      const lines = traced(x);
      x.open("GET", url("endless"));
      x.send();
      setTimeout(() => { x.timeout = 100; }, 150);
      await ended(x);
      return lines;
    },
    "abort before send": ({ C, url }) => { const x = new C(); const lines = traced(x); x.open("GET", url("text")); x.abort(); return [lines, x.readyState]; },
    "abort at once": async ({ C, url }) => { const x = new C(); const lines = traced(x); x.open("POST", url("text")); x.send("a"); x.abort(); return [lines, x.readyState]; },
    "abort in the body": async ({ C, url }) => {
      const x = new C();
      const lines = traced(x);
      x.open("GET", url("endless"));
      x.send();
      await new Promise((resolve) => { x.onreadystatechange = () => x.readyState === 3 && resolve(); });
      x.abort();
      return [lines, x.readyState, x.responseText, x.status];
    },
    "abort in a listener": async ({ C, url }) => { const x = new C(); const lines = traced(x); x.onloadstart = () => x.abort(); x.open("GET", url("text")); x.send(); return [lines, x.readyState]; },
    "abort at the end": async ({ C, url }) => { const x = new C(); const lines = traced(x); x.open("GET", url("text")); x.send(); await ended(x); x.abort(); return [lines, x.readyState, x.status, x.responseText]; },
    "opened again while it runs": async ({ C, url }) => {
      const x = new C();
      const lines = traced(x);
      x.open("GET", url("endless"));
      x.send();
      x.open("GET", url("text"));
      x.send();
      await ended(x);
      return [lines, x.responseText];
    },
    "used twice": async ({ C, url }) => {
      const x = new C();
      x.open("GET", url("text"));
      x.send();
      await ended(x);
      x.open("GET", url("json"));
      const between = [x.readyState, x.status, x.responseText];
      x.send();
      await ended(x);
      return [between, x.responseText];
    },
    "opened in its own load event": async ({ C, url }) => {
      const x = new C();
      const lines = traced(x);
      let again = true;
      x.onload = () => { if (again) { again = false; x.open("GET", url("json")); x.send(); } };
      x.open("GET", url("text"));
      x.send();
      await ended(x);
      await ended(x);
      return [lines, x.responseText];
    },
    "handlers": async ({ C, url }) => {
      const x = new C();
      const order = [];
      x.addEventListener("load", () => order.push("first"));
      x.onload = () => order.push("replaced");
      x.onload = function () { order.push(this === x); };
      x.addEventListener("load", () => order.push("last"));
      x.open("GET", url("text"));
      x.send();
      await ended(x);
      x.onload = null;
      return [order, x.onload];
    },
  },
  eventsource: {
    "constants": ({ C }) => [C.CONNECTING, C.OPEN, C.CLOSED, Object.keys(C).sort()],
    "no argument": ({ C }) => thrown(() => new C()),
    "a bad URL": ({ C }) => thrown(() => new C("http://[")),
    "closed before it opens": async ({ C, url }) => { const s = new C(url("events/one")); const at = s.readyState; s.close(); return [at, s.readyState, s.withCredentials]; },
    "fields": ({ C, url }) => heard(C, url("events/fields"), 8),
    "line ends": ({ C, url }) => heard(C, url("events/ends"), 5),
    "a mark at the beginning": ({ C, url }) => heard(C, url("events/bom"), 1),
    "the last event's id": ({ C, url }) => heard(C, url("events/again"), 3),
    "an id without data": ({ C, url }) => heard(C, url("events/idonly"), 2),
    "pieces of characters": ({ C, url }) => heard(C, url("events/pieces"), 1),
    "named events": ({ C, url }) => heard(C, url("events/named"), 2, ["tick", "tock"]),
    "another type": ({ C, url }) => failed(C, url("text")),
    "a type with parameters": ({ C, url }) => heard(C, url("events/typed"), 1),
    "status 404": ({ C, url }) => failed(C, url("events/missing")),
    "status 204": ({ C, url }) => failed(C, url("nothing")),
    "the origin after a redirect": ({ C, url }) => heard(C, url("events/moved"), 1),
  },
};

/** What the first `count` messages say; the object is closed then. */
function heard(C, address, count, types = ["message"]) {
  return new Promise((resolve) => {
    const lines = [];
    const source = new C(address);
    source.onopen = () => lines.push(`open ${source.readyState}`);
    source.onerror = () => { lines.push(`error ${source.readyState}`); };
    const listen = ({ type, data, lastEventId, origin }) => {
      lines.push([type, data, lastEventId, origin === new URL(address).origin]);
      if (lines.filter(Array.isArray).length === count) {
        source.close();
        resolve([lines, source.readyState]);
      }
    };
    for (const type of types) source.addEventListener(type, listen);
  });
}

function failed(C, address) {
  return new Promise((resolve) => {
    const source = new C(address);
    source.onopen = () => resolve("open");
    source.onerror = () => resolve(["error", source.readyState]);
  });
}

const NO_UPLOAD = "events of an upload that has no body: the standard has none";
const EMPTY = "the standard ends an empty body with a progress event too";

export const DIFFERENT = {
  xhr: {
    "post with another charset": "the standard writes the type anew, without spaces",
    "post with a charset in other letters": "the standard leaves utf-8 as it is written",
    "HEAD": EMPTY,
    "status 204": EMPTY,
    "arraybuffer of nothing": EMPTY,
    "json": "the standard makes the object once",
    "the connection is refused": NO_UPLOAD,
    "a body that breaks": NO_UPLOAD,
    "timeout": NO_UPLOAD,
    "timeout set later": NO_UPLOAD,
    "abort in the body": NO_UPLOAD,
    "abort in a listener": NO_UPLOAD,
    "opened in its own load event": "the loadend event has the numbers of the request that ended",
  },
  eventsource: {},
};
