"""Why a fact of ours is not the official client's, and who could use it: one line for each difference that is known.

A reason has to be true of a difference that is there: one that a run does not show is told as stale. The rest is what
the page says beside its tables; `NOT_MEASURED` is what the bench has no fact for yet.
"""

from __future__ import annotations

_SERVER = "the exit, a server and who watches the line between them"
_RESOLVER = "the exit, the resolver and who watches the line between them"

REASONS: dict[str, tuple[str, str]] = {
    # -- the directory
    "directory.requests": (
        "Ours asks for each list once. The official one asks for some in two forms, JSON and its own binary one.",
        "directory",
    ),
    "directory.requests.later": ("Ours asks for each list once, the official one for some in two forms.", "directory"),
    "directory.first": (
        "Ours asks for all lists at once, while the interpreter is being loaded. Which comes first tells the client, "
        "and nothing of its user.",
        "directory",
    ),
    "directory.headers": (
        "`Pragma`, `Cache-Control`: ours keeps no list in the browser's cache, where it would be too old the next time "
        "and show on the device. The official one says `content-type`, of a body that is not there.",
        "directory",
    ),
    # -- the gateway
    "gateway.connections": (
        "The official one registers on one connection, closes it, and authenticates on a second. Ours uses the one on "
        "which it has registered, and is ready sooner by the round trips that a connection takes.",
        "gateway",
    ),
    "gateway.texts": (
        "The second connection's texts: `supportedProtocol` and `authenticateV2`. Ours sends the others in the same "
        "order, with the same bytes but for keys and numbers.",
        "gateway",
    ),
    "gateway.texts.later": (
        "The official one keeps its key in the browser and authenticates with it; ours registers another one, unless a "
        "`clientId` was given, and then does the same.",
        "gateway",
    ),
    "gateway.keys": (
        "The official one has one key for all visits, so its gateway can link them whatever the address. Ours has "
        "another one on each, unless a `clientId` was given.",
        "gateway",
    ),
    "gateway.texts.loss": (
        "Ours comes back at once, with the same identity. The official one did not within six seconds.",
        "gateway",
    ),
    "gateway.texts.offline": (
        "Ours asks its gateway for a sign of life when the network goes or comes, and returns with the same identity "
        "where there is none. The official one had no connection any more.",
        "gateway",
    ),
    "gateway.tabs": (
        "The official one has one key for all tabs of an origin: its gateway knows them for one user's, and refuses "
        "the second while the first is up. Ours has one for each tab, unless tabs share a tunnel (`shared`).",
        "gateway",
    ),
    "gateway.close": (
        "Neither gives a code; in the bench the official one has not come back from the loss before, and has nothing "
        "to close.",
        "gateway",
    ),
    "rate.behind": (
        "What another tab takes of the machine lets the rate follow: ours goes down the ladder for a while, and the "
        "official one's packets come late.",
        "gateway",
    ),
    "rate.reconnect": ("Ours comes back at once where the connection was closed under it.", "gateway"),
    "rate.directory": (
        "It tells how fast the code starts: ours has more to load, and asks the directory meanwhile.",
        "the line, the directory and the gateway together",
    ),
    # -- mix nodes
    "mix.packets": (
        "The official one marks its cover packets with another version (258) than those with data (259), so each mix "
        "node can tell them apart. Ours has 259 for all.",
        "mix node",
    ),
    # -- the exit and behind it
    "exit.tabs": (
        "Each tab of ours has a tunnel, and so an address, of its own; the official one's second tab has no tunnel.",
        "exit",
    ),
    "exit.ip.id": (
        "The official one's stack sends 0. Ours counts in each connection from a drawn number, as a Linux kernel does.",
        _SERVER,
    ),
    "tcp.syn.options": (
        "Ours has the options of a Linux kernel in their order, timestamps too: it measures round trips with them, and "
        "kernels are the larger crowd. The official one's stack sends no timestamps.",
        _SERVER,
    ),
    "tcp.syn.window": (
        "Ours announces whole segments, as a Linux kernel does (47 times 1380 bytes).",
        _SERVER,
    ),
    "tcp.syn.scale": (
        "Ours opens its window further than 64 KiB where the path takes more, and says 7, as a Linux kernel does.",
        _SERVER,
    ),
    "tcp.ports": (
        "The official one counts upwards from 49152, so a server can tell how many connections a tunnel has had. Ours "
        "are drawn (RFC 6056).",
        _SERVER,
    ),
    "once.isn": (
        "The official one's initial sequence numbers are the same for every user. Ours are a keyed hash and a clock "
        "(RFC 6528): numbers that can be known let anybody break into a connection.",
        _SERVER,
    ),
    "tcp.timestamps": (
        "The official one sends none. Ours has an offset of its own for each connection (RFC 7323 5.4), so that a "
        "server cannot tell by the clock which connections behind one exit are one user's. Linux has one for each pair "
        "of addresses: by two connections of a user to one server, known as such, ours is told from a kernel.",
        _SERVER,
    ),
    "once.timestamps": ("The official one sends none.", _SERVER),
    "rate.syn": ("Ours waits a second (RFC 6298 2.1), as a Linux kernel does; the official one's longer.", _SERVER),
    "rate.timestamps": ("The official one sends none; 1000 a second is a Linux kernel's.", _SERVER),
    "tls.ciphers": (
        "Both are rustls with different libraries for its ciphers, each with an order of its own, which `rtls` has no "
        "switch for.",
        _SERVER,
    ),
    "tls.signatures": ("The same: these libraries name them in another order.", _SERVER),
    "tls.extensions": (
        "`session_ticket`: ours lets TLS 1.2 go on where a connection has ended, and the official one does not.",
        _SERVER,
    ),
    "tls.size": ("ALPN and `session_ticket`.", _SERVER),
    "tls.alpn": (
        "The official one speaks HTTP/1.1 alone. With HTTP/2 ours needs one connection for all requests to a server.",
        _SERVER,
    ),
    "http1.request": (
        "`Accept-Encoding`: the official one cannot decode bodies and asks for `identity`; ours asks for the codings "
        "that it decodes, since fewer packets then carry a body. The other headers and their order are the same; their "
        "names have capitals, as the browsers' have whose name both bear.",
        "a server; over TLS nobody else",
    ),
    "http1.upload": ("Capitals, as of the other requests.", "a server; over TLS nobody else"),
    "http2.start": ("The official one has no HTTP/2.", "a server"),
    "http2.headers": ("The official one has no HTTP/2.", "a server"),
    "websocket.headers": (
        "Ours compresses, which it has to say, so it could not look like the official one: it says what Chromium says, "
        "in Chromium's order.",
        "a server; over TLS nobody else",
    ),
    # -- DNS
    "dns.kinds": ("Ours asks for IPv6 addresses too, and so reaches servers that have no others.", _RESOLVER),
    "dns.ports": (
        "The official one counts upwards, so whoever forges answers knows the port. Ours are drawn (RFC 5452).",
        _RESOLVER,
    ),
    "dns.form": (
        "EDNS: answers of up to 1232 bytes need no second question over TCP. AD: an answer says whether signatures "
        "were checked.",
        _RESOLVER,
    ),
    "dns.case": (
        "Letters in random case, which whoever forges an answer without seeing the question has to guess.",
        _RESOLVER,
    ),
}

SHOWS_STILL = """
## What shows all the same

* **Start and end.** The gateway sees when a tunnel begins and ends, and so does whoever watches the line. A tunnel that
  is up for ten minutes shows these two times and one number, 33,000 packets, whatever was done in it.
* **The burst of set-up.** Until the first packet a client fetches its own files, asks the directory, and shakes hands
  with its gateway: both clients are known by that, and ours by more files. The first packets wait for each other, never
  for what the page wants ([traffic.md](traffic.md#the-first-packets)).
* **Intersection.** Somebody who sees all gateways and a server notes who is online whenever that server is used by the
  person looked for. Of N users who come and go independently, each online for a share s of the time, about N s^k are
  left after k such moments: of 10,000 users with s = 0.1 one after four. Cover does not help, being online for longer
  does: with s = 0.9 it takes 87 moments. Both clients are alike in this.
* **The rung.** How fast machine and line are, to a factor of two ([traffic.md](traffic.md#what-the-choice-tells)).
* **Both ends.** The exit sees the real packets. With the gateway's help it can compare when data flows: the gateway's
  times say nothing of data, but start and end do.
"""

DIRECTORY = """
## A directory that singles somebody out

A directory could answer one user with other lists than all others. What is checked, and what cannot be:

| answer | what happens |
|---|---|
| lists of different epochs | refused: `inconsistent` |
| a layer without nodes, no gateways, not three layers | refused: `unroutable` |
| an epoch before the one that is known | refused: `outdated`; the known one is kept, and asked again |
| less than half of the known mix nodes still there, in the same epoch | taken, with the warning `topology_changed` |
| keys older than the clock says | taken, and asked again in 30 s, then less often |
| a gateway that is not who the lists say | refused: its signature does not fit |
| nothing but nodes of its own, from the first answer on | not noticed: nobody vouches for a list but who gives it |

Against the last one the option `topology` takes a list from elsewhere. The directory sees the same questions from all:
none says which nodes were drawn.
"""

NOT_MEASURED = """* Retransmissions within a connection, and TCP over a long one; their forms: `tests/linux`.
* Keys of gateways beyond three visits; of a rotation of the mix nodes' keys only the 20 s after it.
* Encrypted DNS, which the official client does not have.
* A page that is hidden, beside the official client: this browser shows the tab behind another one as well. Of ours
  alone it is measured in `tests/browser/test_page_shape.py`. More than two tabs.
* Counters in headers of packets are looked for as values that come back, not as values that follow each other.
"""

FINGERPRINT = """
## Fingerprint: official

Some of the differences above make ours quicker. The option `fingerprint: "official"` gives that up, and whoever looks
sees what is in the column of the official client:

| given up | and so |
|---|---|
| TCP: timestamps, a Linux kernel's SYN and identifications, windows beyond 64 KiB | at most 64 KiB a round trip |
| HTTP/2, content codings, capitals in HTTP/1.1 | a connection for each request under way; longer bodies |
| compression of WebSockets, Chromium's fields in their handshake | longer messages |
| DNS: EDNS, AD, random case, IPv6 | long answers need TCP; forging one takes fewer guesses |
| registering and working on one connection to the gateway | the round trips of a second one at the start |

It leaves what protects: drawn ports, initial sequence numbers and identifiers, one version of Sphinx packets, another
key on each visit (the official client's habit is a `clientId`). And what nothing can change: the order of ciphers in
TLS, how long the code takes to start. So it makes ours harder to tell from the official client, not the same.
"""
