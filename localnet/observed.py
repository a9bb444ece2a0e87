"""What each party of the network sees of its clients, for whoever asks: raw bytes with their time, as they come.

`Network.watch` hands one watcher to all of them. It changes nothing of what they do. Vantage points and what they tell:

gateway    upgrade, text, binary, close, control, end: of a client's WebSocket; down.text, down.binary: towards it;
           packet: what was in a binary frame (packet type, rotation, first hop, Sphinx packet)
mix        packet: a Sphinx packet before its layer is removed, with what the layer held; only nodes of this process
exit       message: one of the mixnet; up, down: IP packets of a client
directory  bytes: of a connection to its HTTP server, decrypted
origin     bytes: the same, of the servers behind the exits
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Seen:
    """`who`: the connection, node or sender tag it came from; `at`: time of the loop; `more`: what else is known."""

    vantage: str
    what: str
    who: str
    at: float
    data: bytes
    more: Mapping[str, int | str] = field(default_factory=dict)


Watcher = Callable[[Seen], None]
