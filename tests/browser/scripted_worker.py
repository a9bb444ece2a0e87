"""A scripted worker in place of the real one: it says exactly what a test wants, and tells what it was told."""

from __future__ import annotations

# Answers `setup`; everything else is told to the page under test through a broadcast channel, and back.
SCRIPTED = """
const snapshot = (state, error = null) => ({
  state, step: null, error, warnings: [], gateway: "G", address: null, exit: "E", addresses: [], traffic: null,
});
const wire = new BroadcastChannel("wire");
wire.onmessage = ({data}) => {
  if (data.state) postMessage({type: "state", snapshot: snapshot(...data.state)});
  else if (data.die) setTimeout(() => { throw new Error(data.die); });
  else postMessage(data);
};
onmessage = ({data}) => {
  if (data.type === "setup") {
    postMessage({type: "state", snapshot: snapshot("ready")});
    postMessage({type: "result", id: data.id, value: null});
  } else if (data.type === "disconnect") postMessage({type: "result", id: data.id, value: null});
  else if (data.type !== "boot") wire.postMessage(data);
};
postMessage({type: "booted"});
"""

# Begins a test's script: `heard` gives the next message of a type, `say` answers, `answer` begins a response.
HEAD = """const wire = new BroadcastChannel("wire");
  const seen = [];
  let waiting = [];
  wire.onmessage = ({data}) => { seen.push(data); waiting.splice(0).forEach((wake) => wake()); };
  const heard = async (type) => { for (;;) {
    const found = seen.findIndex((message) => message.type === type);
    if (found >= 0) return seen.splice(found, 1)[0];
    await new Promise((resolve) => waiting.push(resolve));
  } };
  const say = (message) => wire.postMessage(message);
  await api.setupMixTunnel({});
  const tunnel = await api.getMixTunnel();
  const timings = {redirect: 0, queue: 0, dns: 1, connect: 2, tls: null, requestSent: 4, ttfb: 5, end: null,
    protocol: "http/1.1", remoteAddress: "192.0.2.1", reused: false, exit: "E"};
  const head = (status = 200) => ({status, statusText: "OK", url: "http://o/",
    headers: [["a", "1"], ["set-cookie", "x=1"], ["set-cookie", "y=2"]],
    redirected: false, httpVersion: "1.1", tls: null, timings});
  const answer = (id, status) => say({type: "response", id, head: head(status)});
  const chunk = (id, ...bytes) => say({type: "chunk", id, data: new Uint8Array(bytes)});
  const ended = (id) => say({type: "end", id, timings: {...timings, end: 9}});
"""
