"""Frames between nodes: whole, byte by byte, many at once, malformed."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smolmix_web.errors import MessageError
from smolmix_web.mixnet.node_frame import FrameDecoder, NodeFrame
from smolmix_web.rand import SeededRandom
from smolmix_web.sphinx.constants import SIZES


def frame(version=8, rotation=1, wire=386, seed=0):
    return NodeFrame(SeededRandom(seed).bytes(wire), rotation if version == 8 else 0, version)


def test_known_bytes():
    assert frame(8, 2, 2413).to_bytes()[:4].hex() == "08010002"
    assert frame(7, 0, 386).to_bytes()[:3].hex() == "070200"
    assert (len(frame(7, 0, 2413).to_bytes()), len(frame(8, 0, 2413).to_bytes())) == (2416, 2417)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.name)
@pytest.mark.parametrize(("version", "rotation"), [(7, 0), (8, 0), (8, 1), (8, 2)])
def test_round_trip(size, version, rotation):
    one = frame(version, rotation, size.wire)
    assert one.size_tag == size.tag
    decoder = FrameDecoder()
    assert list(decoder.feed(one.to_bytes())) == [one]
    assert decoder.buffered == 0


@settings(max_examples=25)
@given(
    specs=st.lists(st.tuples(st.sampled_from([7, 8]), st.integers(0, 2), st.sampled_from([386, 2413])), max_size=6),
    cuts=st.lists(st.integers(0, 15_000), max_size=10),
)
def test_any_cutting_of_the_stream(specs, cuts):
    frames = [frame(version, rotation, wire, at) for at, (version, rotation, wire) in enumerate(specs)]
    stream = b"".join(one.to_bytes() for one in frames)
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    decoder = FrameDecoder()
    out = []
    for start, end in itertools.pairwise(edges):
        out += decoder.feed(stream[start:end])
        assert decoder.buffered < 2417
    assert out == frames


def test_byte_by_byte():
    frames = [frame(8, 1), frame(7), frame(8, 2, seed=3)]
    decoder = FrameDecoder()
    out = []
    for byte in b"".join(one.to_bytes() for one in frames):
        out += decoder.feed(bytes((byte,)))
    assert out == frames


def test_bytes_are_kept_when_nobody_iterates():
    decoder = FrameDecoder()
    decoder.feed(frame(seed=1).to_bytes())
    decoder.feed(frame(seed=2).to_bytes())
    assert decoder.next_frame() == frame(seed=1)
    assert decoder.next_frame() == frame(seed=2)
    assert decoder.next_frame() is None


@pytest.mark.parametrize(
    ("start", "code"),
    [
        ("06", "bad_frame_version"),
        ("09", "bad_frame_version"),
        ("00", "bad_frame_version"),
        ("0800", "bad_packet_size"),
        ("0806", "bad_packet_size"),
        ("0707", "bad_packet_size"),
        ("0808", "bad_packet_size"),
        ("080101", "unsupported_packet_type"),
        ("080102", "unsupported_packet_type"),
        ("0701ff", "unsupported_packet_type"),
        ("08010003", "bad_rotation"),
    ],
)
def test_malformed_is_seen_at_its_byte(start, code):
    data = bytes.fromhex(start)
    decoder = FrameDecoder()
    assert list(decoder.feed(data[:-1])) == []
    with pytest.raises(MessageError) as caught:
        list(decoder.feed(data[-1:]))
    assert caught.value.code == code
    # The stream stays broken and takes no more memory.
    with pytest.raises(MessageError) as again:
        list(decoder.feed(frame().to_bytes()))
    assert again.value.code == code
    assert decoder.buffered == 0


def test_frames_before_a_malformed_one_come_first():
    decoder = FrameDecoder()
    out = []
    with pytest.raises(MessageError):
        for one in decoder.feed(frame().to_bytes() + b"\x00"):
            out.append(one)
    assert out == [frame()]


def test_packets_of_no_known_size_are_not_framed():
    with pytest.raises(MessageError) as caught:
        NodeFrame(bytes(387)).to_bytes()
    assert caught.value.code == "bad_packet_size"
