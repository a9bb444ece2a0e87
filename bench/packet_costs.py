"""What one packet costs on the CPU: the workload, the same code under CPython and inside Pyodide.

A client's packets go from a fragment to the sealed WebSocket frame, with random routes over a network of ordinary size,
as in the traffic loop. Times are taken over batches, since a page's clock is coarse, and the operations take turns, so
that a slow moment of the machine hits all of them. Imports only what a page's Pyodide has.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from smolmix_web.crypto.provider import Crypto
from smolmix_web.mixnet.acks import AckPath, split_ack
from smolmix_web.mixnet.addresses import Recipient, pack_node_address, pad_node_address
from smolmix_web.mixnet.body import open_body
from smolmix_web.mixnet.fragments import Fragment
from smolmix_web.mixnet.gateway.frames import FORWARD_V2, NONCE_LENGTH, open_frame, seal_frame, seal_push
from smolmix_web.mixnet.preparer import build_fragment_packet, build_reply_packet, exponential_delays
from smolmix_web.rand import RandomSource, SystemRandom
from smolmix_web.sphinx.constants import REGULAR
from smolmix_web.sphinx.node import FinalHop, ForwardHop, process_packet
from smolmix_web.sphinx.packet import Hop
from smolmix_web.sphinx.surb import ReplySurb, build_surb

NODES_PER_LAYER = 40
MEAN_DELAY = 0.015  # seconds
ROTATION = 1

Operation = Callable[[], None]


@dataclass(frozen=True)
class Node:
    private_key: bytes
    hop: Hop


class Network:
    """Three layers of nodes and the gateways of both ends, all keys known."""

    def __init__(self, crypto: Crypto, rng: RandomSource) -> None:
        self._crypto = crypto
        self._rng = rng
        self._count = 0
        self.layers = [[self._node() for _ in range(NODES_PER_LAYER)] for _ in range(3)]
        self.own_gateway, self.far_gateway = self._node(), self._node()

    def _node(self) -> Node:
        self._count += 1
        private_key = self._rng.bytes(32)
        packed = pack_node_address(f"10.0.{self._count >> 8}.{self._count & 255}", 1789)
        hop = Hop(pad_node_address(packed), self._crypto.x25519_base(private_key))
        return Node(private_key, hop)

    def route(self, gateway: Node) -> list[Node]:
        return [*(self._rng.choice(layer) for layer in self.layers), gateway]


class Workload:
    """The operations that are measured; each call does one of its kind."""

    def __init__(self, crypto: Crypto, rng: RandomSource) -> None:
        self.crypto, self.rng = crypto, rng
        self.network = Network(crypto, rng)
        self.frame_key = rng.bytes(32)
        self.ack_key = rng.bytes(16)
        self.identity = crypto.ed25519_public(rng.bytes(32))
        self.secret = rng.bytes(32)
        self.recipient = Recipient(
            crypto.ed25519_public(rng.bytes(32)),
            crypto.x25519_base(rng.bytes(32)),
            crypto.ed25519_public(rng.bytes(32)),
        )
        self.fragment = Fragment(rng.below(1 << 31) | 1, 3, 2, rng.bytes(REGULAR.fragment - 7))
        self.reply_keys: dict[bytes, tuple[bytes, str]] = {}
        self.pushed = self._pushed_reply()
        self.packet, self.node = self._packet_at_a_node()

    # -- measured ---------------------------------------------------------------------------------

    def build_packet(self) -> None:
        """A regular packet (version 259) with its ack, as the WebSocket frame for the gateway."""
        self.build_frame()

    def receive_reply(self) -> None:
        """A pushed frame with a reply to one of our SURBs, to the parsed fragment."""
        body = open_frame(self.crypto, self.frame_key, self.pushed).plaintext
        opened = open_body(self.crypto, self.secret, self.reply_keys.get, body)
        assert opened is not None
        assert Fragment.from_bytes(opened.data).position == 2

    def build_surb(self) -> None:
        """One SURB with seeds, back to ourselves."""
        self._surb()

    def hop(self) -> None:
        """What a mix node does with one packet."""
        assert isinstance(process_packet(self.crypto, self.node.private_key, self.packet), ForwardHop)

    def x25519(self) -> None:
        """The curve operation of which a header has one for each hop."""
        self.crypto.x25519(self.node.private_key, self.recipient.encryption)

    def x25519_base(self) -> None:
        """And the one of which it has one."""
        self.crypto.x25519_base(self.node.private_key)

    # -- parts --------------------------------------------------------------------------------------

    def _ack_path(self) -> AckPath:
        route = [node.hop for node in self.network.route(self.network.own_gateway)]
        return AckPath(route, exponential_delays(self.rng, len(route), MEAN_DELAY), self.identity, self.ack_key)

    def build_frame(self) -> bytes:
        route = [node.hop for node in self.network.route(self.network.far_gateway)]
        prepared = build_fragment_packet(
            self.crypto,
            self.rng,
            self.recipient,
            self.fragment,
            route=route,
            delays_ns=exponential_delays(self.rng, len(route), MEAN_DELAY),
            rotation=ROTATION,
            ack=self._ack_path(),
        )
        plaintext = prepared.mix_packet().to_bytes()
        return seal_frame(self.crypto, self.frame_key, self.rng.bytes(NONCE_LENGTH), FORWARD_V2, plaintext)

    def _surb(self) -> tuple[ReplySurb, list[Node]]:
        nodes = self.network.route(self.network.own_gateway)
        delays = exponential_delays(self.rng, len(nodes), MEAN_DELAY)
        surb = build_surb(self.crypto, self.rng, [node.hop for node in nodes], delays, self.identity, ROTATION)
        return surb, nodes

    def _pushed_reply(self) -> bytes:
        """A reply taken through all four hops of its SURB, as the own gateway pushes it."""
        surb, nodes = self._surb()
        self.reply_keys[surb.key_digest(self.crypto)] = (surb.encryption_key, "peer")
        packet = build_reply_packet(
            self.crypto, self.rng, surb, self.fragment, ack=self._ack_path(), average_delay=MEAN_DELAY
        ).packet
        for node in nodes[:-1]:
            step = process_packet(self.crypto, node.private_key, packet)
            assert isinstance(step, ForwardHop)
            packet = step.packet
        last = process_packet(self.crypto, nodes[-1].private_key, packet)
        assert isinstance(last, FinalHop)
        return seal_push(self.crypto, self.rng, self.frame_key, split_ack(last.message).body)

    def _packet_at_a_node(self) -> tuple[bytes, Node]:
        nodes = self.network.route(self.network.far_gateway)
        prepared = build_fragment_packet(
            self.crypto,
            self.rng,
            self.recipient,
            self.fragment,
            route=[node.hop for node in nodes],
            delays_ns=exponential_delays(self.rng, len(nodes), MEAN_DELAY),
            rotation=ROTATION,
            ack=self._ack_path(),
        )
        return prepared.packet, nodes[0]


def measure(
    crypto: Crypto, names: list[str], *, rounds: int = 25, batch: int = 20, warm_up: int = 60
) -> dict[str, int]:
    """The median time of each named operation in microseconds, as `{name}_us`."""
    workload = Workload(crypto, SystemRandom())
    operations: dict[str, Operation] = {name: getattr(workload, name) for name in names}
    for operation in operations.values():
        for _ in range(warm_up):
            operation()
    samples: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, operation in operations.items():
            start = time.perf_counter()
            for _ in range(batch):
                operation()
            samples[name].append((time.perf_counter() - start) / batch)
    return {f"{name}_us": round(sorted(times)[len(times) // 2] * 1e6) for name, times in samples.items()}
