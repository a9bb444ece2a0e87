/**
 * The whole conversation between a page and its worker, as a closed union.
 *
 * Every call or open channel has an `id` chosen by the page. A call ends with `result` or `error`. A channel starts
 * with `response` (fetch) or `opened` (all others) and ends with `end` (fetch, TCP, streams), `closed` (WebSocket)
 * or `error`. After the end of an id, and after an `abort` of the page, both sides forget it, and later messages for
 * it are void.
 *
 * Bytes are always the field `data` of a message: they are given away (transferred), never copied on the way.
 *
 * A redirect may need the body of a request again: to `rewind` the page answers `rewound`, with the same number, and
 * writes from the beginning; what it wrote before is void and not acknowledged any more.
 *
 * Flow control: the worker sends one `chunk` for each `pull`; each `write` is answered by `written` once its bytes
 * were taken by the tunnel. Datagrams are pulled in the same way. Of a UDP socket, a single `pull` or `write` may fail
 * (`failed`: an ICMP error, a name that does not resolve) and the socket goes on. The halves of a TCP connection end on
 * their own: by `finish` and `discard` of the page, by `eof` of the peer. Messages of a WebSocket come without being
 * asked for; the page answers each with a `pull` once it has taken it, and a bounded number goes ahead of that.
 *
 * Other clients: `message` and `reply` are `opened` when they are queued and end with `result` when the recipient's
 * gateway has them. Of `messages`, each `pull` brings one message (`chunk`). `listen` holds until `abort`; meanwhile an
 * `accept` becomes the next incoming stream. Streams are as TCP connections; `peer` comes whenever it turns out who is
 * at the other end, and an `abort` may carry a code and a text to it.
 *
 * `isolation` is the key of what shares no connection, no answer of a resolver and no cookie with what has another one;
 * null, or absent: the tunnel's own.
 *
 * What the worker asks of the page, besides (`keep`: a place of the page's own for what is kept), has a number of the
 * worker's, `call`; the page answers each (`kept`). `log`: a line for the page's logger.
 *
 * A borrower of the tunnel speaks the same messages to the page (share.js).
 *
 * @module
 */

/** @typedef {[string, string]} HeaderPair */

/**
 * What a failed operation carries across: the Python error's class name, its stable code (docs/errors.md), the phase it
 * struck in, what the code leaves open, whether trying again may help, and the error that led to it.
 * @typedef {object} ErrorDetail
 * @property {string} name
 * @property {string} code
 * @property {string | null} phase
 * @property {string} message
 * @property {string} [option] name of the option that was refused
 * @property {string | null} [reason]
 * @property {boolean} [retryable]
 * @property {number} [resetCode] that another client gave when it ended a stream
 * @property {ErrorDetail | null} [cause]
 */

/**
 * @typedef {object} FetchRequest
 * @property {string} method
 * @property {string} url absolute
 * @property {HeaderPair[]} headers
 * @property {"follow" | "error" | "manual"} redirect
 * @property {number | null} maxRedirects null: the tunnel's
 * @property {boolean} allowInsecureRedirects from https to http
 * @property {"omit" | "jar" | null} cookies null: the tunnel's
 * @property {string} integrity empty: nothing is checked
 * @property {Record<string, number | null> | null} timeouts ms by phase; what is not named is the tunnel's
 * @property {boolean} progress tell how far the bodies are
 * @property {boolean} streaming the body follows in `write` messages, ended by `finish`
 * @property {number | null} length of a streamed body that can be had again; null for others
 * @property {string | null} isolation
 */

/**
 * How long the phases of a fetch took, in milliseconds; null for what did not happen, or not yet.
 * @typedef {object} FetchTimings
 * @property {number | null} redirect from the start to the last request, after redirects
 * @property {number | null} queue waiting for a connection that may be used
 * @property {number | null} dns
 * @property {number | null} connect TCP
 * @property {number | null} tls
 * @property {number | null} requestSent from the start until the request had been sent
 * @property {number | null} ttfb from the start to the response's header
 * @property {number | null} end from the start to the end of the body; null until then
 * @property {string | null} protocol "http/1.1" or "h2"
 * @property {string | null} remoteAddress IP address of the server
 * @property {boolean} reused the connection had carried another request
 * @property {string | null} exit Nym address of the exit
 */

/**
 * @typedef {object} ResponseHead
 * @property {number} status
 * @property {string} statusText
 * @property {HeaderPair[]} headers
 * @property {string} url of the last request, after redirects
 * @property {boolean} redirected
 * @property {string} httpVersion for example "1.1"
 * @property {string | null} tls for example "TLSv1.3"; null for plain http
 * @property {boolean} [truncated] the end of the connection ended the body, without TLS's closing message; comes with `end`
 * @property {FetchTimings} timings
 */

/**
 * A cookie of the tunnel's jar, as JSON can hold it.
 * @typedef {object} MixCookie
 * @property {string} name empty for a cookie that is a value alone
 * @property {string} value one Latin-1 character for each octet
 * @property {string} domain host name or address
 * @property {string} [path] default "/"
 * @property {boolean} [hostOnly] default true: not for names below the domain
 * @property {boolean} [secure] default false
 * @property {boolean} [httpOnly] default false
 * @property {"Strict" | "Lax" | "None" | "Default"} [sameSite] default "Default": none was given
 * @property {number | null} [expires] seconds since 1970; null, the default: it lives as long as the tunnel
 * @property {number} [created] seconds since 1970; default: now
 * @property {number} [used] the same, when it was sent last
 */

/**
 * @typedef {object} TunnelSnapshot
 * @property {"connecting" | "ready" | "reconnecting" | "suspended" | "shutting_down" | "shutdown" | "failed"} state
 * @property {string | null} step what is being done while connecting: boot, storage, directory, gateway, exit
 * @property {ErrorDetail | null} error why it failed
 * @property {ErrorDetail[]} warnings what went wrong and was no reason to fail: a stored identity that was set aside, ...
 * @property {string | null} gateway base58 identity
 * @property {string | null} address our own Nym address, by which other clients reach us
 * @property {string | null} exit Nym address
 * @property {string[]} addresses IP addresses given by the exit
 * @property {TrafficRate | null} traffic how much leaves; null before there is a network
 * @property {TunnelSnapshot[]} [tunnels] of a pool; what is one tunnel's alone is null in the pool's own
 */

/**
 * How much of the worker's own files is there.
 * @typedef {object} Loading
 * @property {number} files whole ones
 * @property {number} of so many in all
 * @property {number} bytes of those files as they came, compressed or from a cache; 0 where the browser does not say
 */

/**
 * @typedef {object} TrafficRate
 * @property {"1" | "1/2" | "1/4" | "1/8" | "1/16"} rate part of the usual traffic, real and dummy packets together
 * @property {"machine" | "line" | "option" | null} reason why it is not more; null: it is the usual rate
 */

/**
 * @typedef {object} TlsRequest
 * @property {string | null} serverName
 * @property {string[]} alpn
 * @property {string[]} caCertificates PEM
 * @property {boolean} defaultRoots
 */

/**
 * @typedef {object} TcpRequest
 * @property {string} host
 * @property {number} port
 * @property {4 | 6 | null} family
 * @property {TlsRequest | null} tls
 * @property {boolean} noDelay
 * @property {number | null} keepAliveDelay milliseconds
 * @property {number | null} sendBufferSize
 * @property {number | null} receiveBufferSize
 * @property {Record<string, number>} timeouts milliseconds
 * @property {string | null} isolation
 */

/**
 * `host` and `remotePort` together, or neither: any peer. `family` of the addresses it speaks with.
 * @typedef {object} UdpRequest
 * @property {string | null} localAddress
 * @property {number} port local; 0 for any
 * @property {string | null} host
 * @property {number | null} remotePort
 * @property {4 | 6 | null} family
 * @property {number | null} receiveBufferSize
 * @property {string | null} isolation
 */

/**
 * `hold` and `let-go`: of a client id, within this program; the value of the answer is the id, or empty when it is in use.
 * @typedef {{type: "keep", call: number, action: "get" | "set" | "delete" | "hold" | "let-go", key: string, value?: string}} Keeping
 */

/** `error`: why there is no answer. @typedef {{type: "kept", call: number, value: string | null, error?: string}} Kept */

/**
 * A `text` may name anybody and anything: it is for level "debug". The `code` alone is not.
 * @typedef {{type: "log", level: "debug" | "error", code: string | null, text: string}} WorkerLine
 */

/**
 * Page to worker. `boot` is the first: whether the memory of an earlier visit may be used, and this one's kept.
 * @typedef {{type: "boot", snapshot: boolean}
 *   | Kept
 *   | {type: "setup", id: number, options: Record<string, unknown>, pool?: Record<string, unknown> | null}
 *   | {type: "disconnect", id: number}
 *   | {type: "statistics", id: number}
 *   | {type: "network", id: number, online: boolean | null}
 *   | {type: "suspend", id: number, on: boolean}
 *   | {type: "rotate", id: number, isolation: string | null}
 *   | {type: "resolve", id: number, name: string, family: 4 | 6 | null, isolation: string | null}
 *   | {type: "lookup", id: number, name: string, rrtype: string, timeout: number | null, server: string | null, fresh: boolean, isolation: string | null}
 *   | {type: "clear-dns-cache", id: number}
 *   | {type: "cookies", id: number, action: "export" | "clear", isolation: string | null}
 *   | {type: "cookies", id: number, action: "import", cookies: MixCookie[], isolation: string | null}
 *   | {type: "fetch", id: number, request: FetchRequest, data: Uint8Array | null}
 *   | {type: "websocket", id: number, url: string, protocols: string[], headers: HeaderPair[], timeouts: Record<string, number> | null, isolation: string | null}
 *   | {type: "ping", id: number, host: string, family: 4 | 6 | null, timeout: number, size: number, isolation: string | null}
 *   | {type: "tcp", id: number, request: TcpRequest}
 *   | {type: "udp", id: number, request: UdpRequest}
 *   | {type: "messages", id: number}
 *   | {type: "message", id: number, address: string, surbs: number, timeout: number | null, data: Uint8Array}
 *   | {type: "reply", id: number, senderTag: string, timeout: number | null, data: Uint8Array}
 *   | {type: "listen", id: number}
 *   | {type: "accept", id: number}
 *   | {type: "stream", id: number, address: string, surbs: number}
 *   | {type: "pull", id: number}
 *   | {type: "write", id: number, data: Uint8Array | string, host?: string, port?: number, family?: 4 | 6 | null}
 *   | {type: "finish", id: number}
 *   | {type: "rewound", id: number, turn: number}
 *   | {type: "discard", id: number}
 *   | {type: "close", id: number, code: number | null, reason: string}
 *   | {type: "abort", id: number, code?: number, text?: string}} PageMessage
 */

/**
 * Worker to page. `rewind`, `progress` and `timings` (of a fetch
 * that fails; else they come with the response and the end) belong to fetch. `eof` (TCP): the peer sends no more, writing goes on. `crashed`: the worker can do nothing any more.
 * @typedef {{type: "started"} | {type: "booted"}
 *   | {type: "boot-failed", message: string, reason: string | null}
 *   | {type: "crashed", message: string}
 *   | {type: "loading", loading: Loading}
 *   | Keeping | WorkerLine
 *   | {type: "state", snapshot: TunnelSnapshot}
 *   | {type: "result", id: number, value: unknown}
 *   | {type: "error", id: number, error: ErrorDetail}
 *   | {type: "response", id: number, head: ResponseHead}
 *   | {type: "opened", id: number, detail: Record<string, unknown>}
 *   | {type: "chunk", id: number, data: Uint8Array<ArrayBuffer> | string, host?: string, port?: number, senderTag?: string | null, source?: string | null}
 *   | {type: "eof", id: number, truncated: boolean}
 *   | {type: "peer", id: number, reliable: boolean}
 *   | {type: "written", id: number, bytes: number}
 *   | {type: "failed", id: number, request: "pull" | "write", error: ErrorDetail}
 *   | {type: "rewind", id: number, turn: number}
 *   | {type: "timings", id: number, timings: FetchTimings}
 *   | {type: "progress", id: number, phase: "upload" | "download", loaded: number, total: number | null}
 *   | {type: "end", id: number, timings?: FetchTimings, truncated?: boolean}
 *   | {type: "closed", id: number, code: number, reason: string, clean: boolean, error: ErrorDetail | null}} WorkerMessage
 */

/** Types of the page's messages for an id that is open, and of those of the worker with which an id ends. */
export const FOLLOWING = ["pull", "write", "finish", "rewound", "discard", "close"];
export const LAST = ["result", "end", "closed", "error"];
