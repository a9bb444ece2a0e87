"""The server's side of TLS for tests, by Python's own `ssl` (OpenSSL): independent of the one under test."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Sequence

import trustme

from smolmix_web.edge.sockets import ByteStream


def server_context(
    certificate: trustme.LeafCert, *, alpn: Sequence[str] = ("http/1.1",), maximum: ssl.TLSVersion | None = None
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if maximum is not None:
        context.maximum_version = maximum
    return context


class TlsServer:
    """TLS on an accepted byte stream: read, write, close (with close_notify) and `cut` (without)."""

    def __init__(self, stream: ByteStream, context: ssl.SSLContext) -> None:
        self.stream = stream
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self._in, self._out, server_side=True)

    async def _pump(self) -> None:
        """Send what is pending, then wait for more."""
        await self._flush()
        data = await self.stream.read()
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()

    async def _flush(self) -> None:
        data = self._out.read()
        if data:
            await self.stream.write(data)

    async def handshake(self) -> None:
        while True:
            try:
                self.object.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._pump()
            except ssl.SSLError:
                await self._flush()  # the alert
                raise
        await self._flush()

    async def read(self, limit: int = 65536) -> bytes:
        while True:
            try:
                return self.object.read(limit)
            except ssl.SSLWantReadError:
                await self._pump()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    async def write(self, data: bytes) -> None:
        for start in range(0, len(data), 65536):
            self.object.write(data[start : start + 65536])
            await self._flush()

    async def close(self) -> None:
        with contextlib.suppress(ssl.SSLError):
            self.object.unwrap()
        await self._flush()
        await self.stream.close()

    async def cut(self) -> None:
        """The end of TCP without the end of TLS."""
        await self.stream.close()
