"""TLS 1.2 and 1.3 over any byte stream, by rustls (RFC 8446, RFC 5246, RFC 6125, RFC 7301).

rustls does everything that must not be written by hand: records, handshake, certificate chains, host names. This file
feeds it bytes, gives its errors stable codes, and tells an orderly end (close_notify) from a truncated stream.

The low-level module `rtls._rustls` is used because it is sans-I/O and the same in the native and the WebAssembly build.
"""

from __future__ import annotations

import binascii
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from ..errors import OptionError, SmolmixError, TimeoutExpired, TlsError
from .deadline import Clock, Deadline, LoopClock, Watchdog
from .sockets import READ_SIZE, ByteStream, SerialWriter

_VERSIONS = {0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}
_PLAINTEXT_CHUNK = 65536
LAST_WORDS = 30.0  # s that a peer may take until there is room for an alert or for close_notify
_CERT_REQUIRED = 2
_PARTIAL_CHAIN = 0x80000  # X509_V_FLAG_PARTIAL_CHAIN: whatever is given is an anchor, not only what signs itself
_PLATFORM: str = sys.platform

_rustls: Any = None


def load_rtls() -> Any:
    """The module `rtls._rustls`, imported once, natively or inside Pyodide.

    In Pyodide `rtls` must not see the stub of `ssl`, which has no classes to inherit from: with `_ssl` unimportable it
    uses its own bases.
    """
    global _rustls
    if _rustls is not None:
        return _rustls
    if _PLATFORM != "emscripten":
        _rustls = importlib.import_module("rtls._rustls")
        return _rustls
    missing = object()
    modules: dict[str, Any] = sys.modules
    saved = {name: modules.get(name, missing) for name in ("ssl", "_ssl")}
    modules.pop("ssl", None)
    modules["_ssl"] = None
    try:
        _rustls = importlib.import_module("rtls._rustls")
    finally:
        for name, module in saved.items():
            if module is missing:
                modules.pop(name, None)
            else:
                modules[name] = module
    return _rustls


@dataclass(frozen=True)
class TlsOptions:
    """Of one connection. Certificates are always checked; what can be chosen is whom to trust and for which name."""

    server_name: str | None = None  # for SNI and the certificate; None: the host connected to
    alpn: tuple[str, ...] = ()  # protocols offered, the preferred one first (RFC 7301)
    ca_certificates: tuple[str, ...] = ()  # PEM, trusted besides the others; roots or what they signed
    default_roots: bool = True  # False: trust `ca_certificates` alone

    def __post_init__(self) -> None:
        """Raises `OptionError` for what cannot be sent; certificates are parsed when they are used."""
        for name, value in (("alpn", self.alpn), ("caCertificates", self.ca_certificates)):
            if isinstance(value, str) or not all(isinstance(item, str) for item in value):
                raise OptionError(name, "expected a list of strings")
        for protocol in self.alpn:
            if not (protocol.isascii() and 1 <= len(protocol) <= 255):
                raise OptionError("alpn", f"{protocol!r:.80} is not a protocol name of 1 to 255 ASCII characters")


# -- configurations --------------------------------------------------------------------------------


def _certifi_pem() -> bytes:
    """certifi's roots, without `import certifi`: that would load importlib.resources, 80 ms in a browser."""
    spec = importlib.util.find_spec("certifi")
    get_data: Callable[[str], bytes] | None = getattr(spec and spec.loader, "get_data", None)
    if spec is None or get_data is None or not spec.submodule_search_locations:
        raise TlsError("the package certifi is missing", code="no_roots", phase="tls")
    return get_data(os.path.join(spec.submodule_search_locations[0], "cacert.pem"))


@lru_cache(maxsize=1)
def _default_roots() -> Any:
    builder = load_rtls().RustlsConfigBuilder()
    if not builder.add_root_certs_from_pem(_certifi_pem()):
        raise TlsError("certifi has no root certificates", code="no_roots", phase="tls")
    return builder


# RFC 7468 5.1, with the old labels that it allows a parser. Text around, and other things, are left alone.
_PEM = re.compile(
    r"-----BEGIN ((?:X509 |X\.509 )?CERTIFICATE)-----\s(?P<body>[^-]*)-----END \1-----"
    r"|(?P<open>-----BEGIN (?:X509 |X\.509 |TRUSTED )?CERTIFICATE-----)"
)


def _certificates(pem: str, index: int) -> Iterator[bytes]:
    """DER of every certificate in an item of `caCertificates`, at least one; each must be whole."""
    number = 0
    for number, found in enumerate(_PEM.finditer(pem), 1):
        where = f"item {index}, certificate {number}"
        if found["open"]:
            raise OptionError("caCertificates", f"{where}: {found['open']} and no whole one after it")
        try:
            yield binascii.a2b_base64("".join(found["body"].split()), strict_mode=True)
        except ValueError as error:
            raise OptionError("caCertificates", f"{where}: {error}") from None
    if not number:
        raise OptionError("caCertificates", f"item {index} holds no certificate in PEM form")


@lru_cache(maxsize=32)
def _config(alpn: tuple[str, ...], extra_roots: tuple[str, ...], default_roots: bool) -> Any:
    """A configured builder; connections are built from it without parsing anything again."""
    builder = _default_roots().clone_builder() if default_roots else load_rtls().RustlsConfigBuilder()
    builder.set_verify_mode(_CERT_REQUIRED)
    builder.set_check_hostname(True)
    if extra_roots:
        builder.set_verify_flags(_PARTIAL_CHAIN)
    for index, pem in enumerate(extra_roots):
        for number, der in enumerate(_certificates(pem, index), 1):
            try:
                builder.add_root_cert_from_der(der)
            except Exception as error:
                raise OptionError("caCertificates", f"item {index}, certificate {number}: {error}") from None
    if not builder.root_cert_count():
        raise TlsError("no root certificate is trusted", code="no_roots", phase="tls")
    if alpn:
        builder.set_alpn([name.encode("ascii") for name in alpn])
    return builder


def check_roots(extra_roots: Sequence[str], default_roots: bool = True) -> None:
    """Raise `OptionError` when an item of `caCertificates` is not a certificate, or when nobody would be trusted.

    Where there is nothing to check the library is not loaded for it (`prepare`)."""
    if not (extra_roots or default_roots):
        raise OptionError("defaultRoots", "false needs caCertificates, else no server is trusted")
    if extra_roots:
        _config((), tuple(extra_roots), default_roots)


def prepare(extra_roots: Sequence[str], default_roots: bool) -> None:
    """Load the library and these roots now, so that the first connection need not: about 0.1 s in a browser."""
    _config((), tuple(extra_roots), default_roots)


# -- errors ----------------------------------------------------------------------------------------

# What rustls says, in order of precedence; our stable code and the reason. The texts are those of rustls 0.23.
_CODES: tuple[tuple[str, str, str | None], ...] = (
    ("received fatal alert", "tls_alert", None),
    ("UnknownIssuer", "tls_certificate", "unknown_issuer"),
    ("certificate expired", "tls_certificate", "expired"),
    ("Expired", "tls_certificate", "expired"),
    ("not valid yet", "tls_certificate", "not_yet_valid"),
    ("NotValidYet", "tls_certificate", "not_yet_valid"),
    ("not valid for name", "tls_certificate", "wrong_host"),
    ("NotValidForName", "tls_certificate", "wrong_host"),
    ("Revoked", "tls_certificate", "revoked"),
    ("NameConstraintViolation", "tls_certificate", "name_constraints"),
    ("CaUsedAsEndEntity", "tls_certificate", "ca_as_server"),
    ("invalid peer certificate", "tls_certificate", "invalid"),
    ("peer is incompatible", "tls_handshake", None),
    ("known protocol", "tls_handshake", None),
    ("corrupt message", "tls_protocol", None),
    ("cannot decrypt", "tls_protocol", None),
    ("misbehaved", "tls_protocol", None),
    ("unexpected message", "tls_protocol", None),
    ("UnexpectedMessage", "tls_protocol", None),
)


def _typed(error: Exception, server_name: str) -> TlsError:
    text = str(error.args[0]) if error.args else str(error)
    code, reason = next(((code, reason) for part, code, reason in _CODES if part in text), ("tls_handshake", None))
    if code == "tls_alert":
        # "received fatal alert: HandshakeFailure" or "...: the server ..."
        reason = _snake(text.rpartition(":")[2].strip())
    return TlsError(f"{server_name}: {text}", code=code, phase="tls", reason=reason)


def _snake(name: str) -> str:
    """`UnknownCA` -> `unknown_ca`."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", name)
    return "_".join(words).lower()


# -- the stream ------------------------------------------------------------------------------------


class TlsStream:
    """A client's TLS connection. One task may read while another writes.

    `truncated` is True after a read returned `b""` although the peer sent no close_notify: where the end of the stream
    ends a message, somebody on the way may have cut it.
    """

    def __init__(self, stream: ByteStream, connection: Any, server_name: str, clock: Clock) -> None:
        self._stream = stream
        self._clock = clock
        self._connection = connection
        self._server_name = server_name
        self._incoming = b""  # ciphertext rustls has not taken yet
        self._plain = b""  # plaintext that came with the handshake or before an error
        self._failure: SmolmixError | None = None
        self._ended = False
        self._closing = False
        self._writer = SerialWriter(stream, self._take_outgoing)
        self.truncated = False

    @classmethod
    async def wrap(
        cls,
        stream: ByteStream,
        server_name: str | IPv4Address | IPv6Address,
        *,
        clock: Clock | None = None,
        alpn: Sequence[str] = (),
        extra_roots: Sequence[str] = (),
        default_roots: bool = True,
        timeout: float | None = 30.0,
    ) -> TlsStream:
        """Shake hands as a client on a connected stream; on any failure the stream is aborted.

        `server_name` is an ASCII host name or an address; the certificate must be valid for it. `timeout` in seconds
        needs `clock` (a `Net` is one), else the running loop's is used. Errors: `TlsError` (codes
        `tls_certificate` with the reasons `unknown_issuer`, `expired`, `wrong_host`, ...; `tls_handshake`, `tls_alert`
        with the alert as reason, `tls_truncated`, ...), `TimeoutExpired(phase="tls")`, the stream's own.
        """
        name = str(server_name).strip("[]")
        clock = clock or LoopClock()
        watchdog = Watchdog(clock, stream.abort)
        try:
            try:
                builder = _config(tuple(alpn), tuple(extra_roots), default_roots)
                connection = builder.build_client_connection(name)
            except SmolmixError:
                raise
            except Exception as error:
                raise TlsError(
                    f"{name}: {error.args[0] if error.args else error}", code="bad_name", phase="tls"
                ) from None
            self = cls(stream, connection, name, clock)
            watchdog.start(timeout, "tls")
            await self._handshake()
        except SmolmixError as error:
            error.phase = "tls"
            stream.abort(error)
            raise
        except BaseException:
            stream.abort()
            raise
        finally:
            watchdog.stop()
        return self

    async def _handshake(self) -> None:
        while True:
            await self._writer.flush()
            if not self._connection.is_handshaking():
                return
            data = await self._stream.read(READ_SIZE)
            if not data:
                raise TlsError(
                    f"{self._server_name}: the server closed during the handshake", code="tls_truncated", phase="tls"
                )
            self._incoming += data
            before = len(self._incoming)
            self._plain += self._decrypt(_PLAINTEXT_CHUNK)
            if self._failure is not None:
                await self._flush_alert()
                raise self._failure
            if self._connection.is_handshaking() and len(self._incoming) == before:
                raise TlsError(
                    f"{self._server_name}: a handshake message is too long", code="tls_protocol", phase="tls"
                )

    def _decrypt(self, limit: int) -> bytes:
        """Move ciphertext into rustls and plaintext out. A failure is kept until the plaintext before it is read."""
        connection = self._connection
        try:
            if self._incoming:
                plain, self._incoming = connection.decrypt_incoming(self._incoming, limit)
            else:
                plain = connection.read_plaintext(limit)
        except Exception as error:
            self._failure = _typed(error, self._server_name)
            try:
                plain = connection.read_plaintext(limit)
            except Exception:
                plain = b""
            return bytes(plain)
        if not plain and not self._incoming and not connection.is_handshaking() and not connection.wants_read():
            self._ended = True  # close_notify, and all that came before it is read
        return bytes(plain)

    def _take_outgoing(self) -> bytes:
        parts = []
        while self._connection.wants_write():
            part = self._connection.write_tls()
            if not part:
                break
            parts.append(bytes(part))
        return b"".join(parts)

    async def _flush_alert(self) -> None:
        """Tell the peer why, as far as the stream still takes it."""
        try:
            async with Deadline(self._clock, LAST_WORDS, "close"):
                await self._writer.flush()
            await self._stream.close()
        except SmolmixError:
            pass

    @property
    def version(self) -> str:
        """`TLSv1.2` or `TLSv1.3`."""
        number = self._connection.protocol_version()
        return _VERSIONS.get(number, f"0x{number or 0:04x}")

    @property
    def cipher(self) -> str:
        """IANA name of the cipher suite."""
        return str(self._connection.negotiated_cipher_suite()).replace("TLS13_", "TLS_")

    @property
    def alpn(self) -> str | None:
        name = self._connection.alpn_protocol()
        return bytes(name).decode("ascii", "replace") if name is not None else None

    def peer_certificate(self) -> bytes:
        """The server's own certificate, DER."""
        return bytes((self._connection.peer_certificates() or [b""])[0])

    async def read(self, limit: int = READ_SIZE) -> bytes:
        """As `ByteStream.read`; `b""` after close_notify, or after a truncation, which sets `truncated`."""
        while True:
            plain = self._available(limit)
            if plain:
                return plain
            if self._failure is not None:
                failure = self._failure
                await self._flush_alert()
                self._stream.abort(failure)
                raise failure
            if self._ended:
                return b""
            # rustls may have something to say by itself, as after a key update.
            await self._writer.flush(wait=False)
            data = await self._stream.read(READ_SIZE)
            if not data:
                self.truncated = self._ended = True
                return b""
            self._incoming += data

    def _available(self, limit: int) -> bytes:
        if self._plain:
            plain, self._plain = self._plain[:limit], self._plain[limit:]
            return plain
        if self._failure is not None or self._ended:
            return b""
        return self._decrypt(min(limit, _PLAINTEXT_CHUNK))

    async def write(self, data: bytes) -> None:
        if self._closing:
            raise TlsError("write after close", code="closed", phase="tls")
        if self._failure is not None:
            raise self._failure
        view = memoryview(data)
        while view:
            # rustls takes at most its own buffer (64 KiB) at a time
            taken = self._connection.write_plaintext(bytes(view[:_PLAINTEXT_CHUNK]))
            view = view[taken:]
            await self._writer.flush()

    async def send_eof(self) -> None:
        """End the sending half with close_notify; reading goes on. Idempotent."""
        if self._closing:
            return
        self._closing = True
        if self._failure is None:
            self._connection.send_close_notify()
            await self._writer.flush()

    async def close(self) -> None:
        """Send close_notify, then close the stream below in order. Where a peer takes nothing any more, so that there
        is no room for it, the flow is reset after `LAST_WORDS`: `TimeoutExpired`, phase `close`."""
        try:
            async with Deadline(self._clock, LAST_WORDS, "close"):
                await self.send_eof()
        except TimeoutExpired as error:
            self._stream.abort(error)
            raise
        await self._stream.close()

    def abort(self, error: SmolmixError | None = None) -> None:
        self._stream.abort(error)

    def is_quiet(self) -> bool:
        if self._failure is not None or self._ended or self._closing or self._plain or self._incoming:
            return False
        return self._stream.is_quiet()

    def watch(self, callback: Callable[[], None] | None) -> None:
        self._stream.watch(callback)
