"""One question over UDP: a socket on a random port, random ids, names in random case (RFC 5452, draft dns-0x20).

The mixnet loses datagrams now and then, so a query is repeated well before its attempt ends. Whatever does not fit is
ignored, and the wait goes on. A server that gives the name back in another case than it was asked in is asked once
more in lower case; then any case will do.
"""

from __future__ import annotations

from ..edge.sockets import Net, UdpSocket, lag_of
from ..errors import TimeoutExpired
from ..rand import RandomSource
from .message import Question, Reply, decode_reply, encode_query, mixed_case
from .servers import ServerAddress
from .statistics import DnsStatistics

FIRST_REPEAT = 4.0  # seconds; about one slow round trip of the mixnet
MAX_REPEAT = 16.0


class DatagramExchange:
    """`folds`: the server is known not to keep the case of names, or is not to see that we choose it."""

    def __init__(
        self, net: Net, server: ServerAddress, rng: RandomSource, statistics: DnsStatistics, *, folds: bool = False
    ) -> None:
        self._net = net
        self._server = server
        self._rng = rng
        self._statistics = statistics
        self.folds = folds

    async def ask(self, question: Question, *, edns: bool = True) -> Reply:
        """Ends with an answer, an ICMP error, or never: the caller has a deadline."""
        server = self._server
        socket = UdpSocket.bind(self._net)
        try:
            socket.connect(server.address, server.port)
            sent: dict[int, str] = {}
            patience = FIRST_REPEAT
            while True:
                name = question.name if self.folds else mixed_case(question.name, self._rng)
                identifier = self._rng.below(65536)
                sent[identifier] = name
                self._statistics.queries += 1
                query = encode_query(name, question.rdtype, identifier, edns=edns)
                socket.send_to(query, server.address, server.port)
                reply = await self._matching(socket, question, sent, patience)
                if reply is None:
                    patience = min(patience * 2, MAX_REPEAT)
                elif not reply.folded:
                    return reply
                else:
                    self._statistics.case_folded += 1
                    self.folds = True
        finally:
            socket.close()

    async def _matching(
        self, socket: UdpSocket, question: Question, sent: dict[int, str], patience: float
    ) -> Reply | None:
        """The answer, or None when it is time to ask again: what has come and is not read yet may be it."""
        until = self._net.now() + patience
        while True:
            try:
                data, _ = await socket.receive(max(0.0, until + lag_of(self._net) - self._net.now()))
            except TimeoutExpired:
                if self._net.now() < until + lag_of(self._net):
                    continue
                return None
            reply = decode_reply(data, question, sent, exact_case=not self.folds)
            if reply is not None:
                return reply
            self._statistics.ignored += 1
