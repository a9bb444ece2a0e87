"""Frames between nodes on TCP, versions 7 and 8 (sphinx 4.1): `version || size tag || type || [rotation] || packet`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..errors import MessageError
from ..sphinx.constants import SIZE_BY_TAG, SIZE_BY_WIRE
from .mix_packet import SPHINX_PACKET, check_packet_type, check_rotation
from .rotation import ROTATION_UNKNOWN

LEGACY_FRAME = 7
ROTATION_FRAME = 8
_HEADER = {LEGACY_FRAME: 3, ROTATION_FRAME: 4}


class NodeFrame(NamedTuple):
    """One Sphinx packet on its way between two nodes; version 7 has no rotation byte."""

    packet: bytes
    rotation: int = ROTATION_UNKNOWN
    version: int = ROTATION_FRAME
    packet_type: int = SPHINX_PACKET

    @property
    def size_tag(self) -> int:
        return SIZE_BY_WIRE[len(self.packet)].tag

    def to_bytes(self) -> bytes:
        """The frame; MessageError `bad_packet_size` when the packet has none of the known sizes."""
        size = SIZE_BY_WIRE.get(len(self.packet))
        if size is None:
            raise MessageError(f"node frame: {len(self.packet)} bytes are no packet size", code="bad_packet_size")
        if self.version == LEGACY_FRAME:
            return bytes((LEGACY_FRAME, size.tag, self.packet_type)) + self.packet
        return bytes((ROTATION_FRAME, size.tag, self.packet_type, self.rotation)) + self.packet


class FrameDecoder:
    """Cuts a TCP stream into frames; it holds what was fed and not yet taken, at rest less than one frame.

    After an error the stream is of no use: the same MessageError comes again, the connection is to be closed.
    Codes: `bad_frame_version`, `bad_packet_size` (unknown tag, Outfox included), `unsupported_packet_type`,
    `bad_rotation`.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._error: MessageError | None = None

    @property
    def buffered(self) -> int:
        """Bytes fed and not yet taken."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[NodeFrame]:
        """Take `data` and give the frames that are complete, in order; those before a malformed one still come."""
        if self._error is None:
            self._buffer += data
        # An iterator of calls, not a generator: the bytes are taken even if nobody iterates.
        return iter(self.next_frame, None)

    def next_frame(self) -> NodeFrame | None:
        """The next complete frame, None when more bytes are needed."""
        if self._error is not None:
            raise self._error
        try:
            return self._parse()
        except MessageError as error:
            self._error = error
            self._buffer.clear()
            raise

    def _parse(self) -> NodeFrame | None:
        # Each field is judged as soon as it is there: a wrong stream must not wait for more bytes.
        data = self._buffer
        have = len(data)
        if have < 1:
            return None
        version = data[0]
        header = _HEADER.get(version)
        if header is None:
            raise MessageError(f"node frame: version {version} at offset 0", code="bad_frame_version")
        if have < 2:
            return None
        size = SIZE_BY_TAG.get(data[1])
        if size is None:
            raise MessageError(f"node frame: unknown size tag {data[1]} at offset 1", code="bad_packet_size")
        if have < 3:
            return None
        packet_type = data[2]
        check_packet_type(packet_type, "node frame: offset 2")
        rotation = ROTATION_UNKNOWN
        if version == ROTATION_FRAME:
            if have < 4:
                return None
            rotation = data[3]
            check_rotation(rotation, "node frame: offset 3")
        end = header + size.wire
        if have < end:
            return None
        packet = bytes(memoryview(data)[header:end])
        del data[:end]
        return NodeFrame(packet, rotation, version, packet_type)
