"""The part of a tunnel that speaks with other clients: its address, messages, streams."""

from __future__ import annotations

from ..edge.peers import Listener, Messages, PeerNet, PeerStream, check_surbs, open_stream, parse_recipient
from ..errors import SmolmixError, StateError
from ..streams.hub import OPEN_SURBS

GATEWAY_TIMEOUT = 90.0  # s that the opening of a stream waits for a gateway that is being found anew


class PeerAccess:
    """A base of `Tunnel`, which says when the mixnet can be used."""

    _messages: Messages | None = None
    _listener: Listener | None = None

    def _peer_net(self) -> PeerNet:
        """Raises `StateError` or `TunnelError` where there is no mixnet."""
        raise NotImplementedError

    async def _forwarding(self, timeout: float) -> PeerNet:
        """Waits until packets can leave."""
        raise NotImplementedError

    @property
    def address(self) -> str:
        """Our Nym address, by which others reach us for as long as our gateway is this one (docs/peer-to-peer.md)."""
        return str(self._peer_net().engine.mixnet.address)

    @property
    def messages(self) -> Messages:
        """Messages to and from other clients; they are kept from the first use of this on."""
        if self._messages is None:
            self._messages = Messages(self._peer_net())
        return self._messages

    def listen(self) -> Listener:
        """Take the streams that others open to `address`. `StateError` `listener_taken` where that is done already."""
        self._listener = Listener(self._peer_net())
        return self._listener

    @property
    def listener(self) -> Listener:
        """The one of `listen`. `StateError` `not_listening` where there was none."""
        if self._listener is None:
            raise StateError("nothing listens", code="not_listening", phase="accept")
        return self._listener

    async def open_stream(
        self, address: str, *, surbs: int = OPEN_SURBS, timeout: float = GATEWAY_TIMEOUT
    ) -> PeerStream:
        """A byte stream to another client, which learns nothing of who we are.

        `surbs`: reply SURBs on its first message; more follow as they are used. Returns at once: what is written waits
        for nothing, and a peer that is not there shows in `read`. `timeout`: s that it may wait for the gateway.
        Errors: `MessageError` (`bad_recipient`, `bad_base58`), `DirectoryError` `gateway_unknown`, `StateError`.
        """
        recipient, surbs = parse_recipient(address), check_surbs(surbs, least=1)
        return await open_stream(await self._forwarding(timeout), recipient, surbs)

    def _close_peers(self, error: SmolmixError) -> None:
        """The tunnel is over."""
        for one in (self._messages, self._listener):
            if one is not None:
                one.close(error)
