"""Integers, timestamps and lengths of the exit's serialisation against the table of ipr.md 2.2."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.errors import ExitError
from smolmix_web.exit.bincode import EPOCH, Reader, Timestamp, Writer


def written(method: str, value: object) -> bytes:
    out = Writer()
    getattr(out, method)(value)
    return bytes(out.data)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00"),
        (250, "FA"),
        (251, "FB00FB"),
        (300, "FB012C"),
        (1420, "FB058C"),
        (0xFFFF, "FBFFFF"),
        (0x10000, "FC00010000"),
        (0xFFFFFFFF, "FCFFFFFFFF"),
        (1 << 32, "FD0000000100000000"),
        (0x0123456789ABCDEF, "FD0123456789ABCDEF"),
    ],
)
def test_integers_take_the_shortest_form(value: int, encoded: str) -> None:
    assert written("varint", value) == bytes.fromhex(encoded)
    source = Reader(bytes.fromhex(encoded))
    assert source.varint(64, "n") == value
    source.finish()


@pytest.mark.parametrize("encoded", ["07", "FB0007", "FC00000007", "FD" + "00" * 7 + "07", "FE" + "00" * 15 + "07"])
def test_a_reader_takes_every_form_whose_value_fits(encoded: str) -> None:
    assert Reader(bytes.fromhex(encoded)).varint(16, "n") == 7


@pytest.mark.parametrize(
    ("encoded", "bits"), [("FC00010000", 16), ("FD0000000100000000", 32), ("FE01" + "00" * 15, 64), ("FF", 64)]
)
def test_a_value_that_does_not_fit_is_refused(encoded: str, bits: int) -> None:
    with pytest.raises(ExitError, match=r"^n at offset 0: ") as caught:
        Reader(bytes.fromhex(encoded)).varint(bits, "n")
    assert caught.value.code == "exit_malformed"


def test_out_of_range_values_are_not_written() -> None:
    for value in (-1, 1 << 64):
        with pytest.raises(ValueError, match="64-bit"):
            Writer().varint(value)


@given(st.integers(0, (1 << 64) - 1), st.binary(max_size=3))
def test_integers_round_trip_and_truncation_is_seen(value: int, rest: bytes) -> None:
    encoded = written("varint", value)
    source = Reader(encoded + rest)
    assert source.varint(64, "n") == value
    assert source.offset == len(encoded)
    for end in range(len(encoded)):
        with pytest.raises(ExitError):
            Reader(encoded[:end]).varint(64, "n")


@given(st.integers(-(1 << 31), (1 << 31) - 1))
def test_signed_integers_round_trip(value: int) -> None:
    assert Reader(written("zigzag", value)).zigzag(32, "n") == value


@pytest.mark.parametrize(
    ("value", "unsigned"), [(0, 0), (-1, 1), (1, 2), (-2, 3), (2024, 4048), (-(1 << 31), (1 << 32) - 1)]
)
def test_zigzag_order(value: int, unsigned: int) -> None:
    assert written("zigzag", value) == written("varint", unsigned)


@given(st.integers(-128, 127))
def test_small_signed_integers_are_raw(value: int) -> None:
    assert written("i8", value) == value.to_bytes(1, "big", signed=True)
    assert Reader(written("i8", value)).i8("n") == value


def test_flags_are_0_or_1() -> None:
    assert Reader(b"\x01").flag("f") is True
    assert Reader(b"\x00").flag("f") is False
    with pytest.raises(ExitError, match="f at offset 0: 2 is neither 0 nor 1"):
        Reader(b"\x02").flag("f")


@given(st.text(max_size=300))
def test_text_round_trips(value: str) -> None:
    source = Reader(written("text", value))
    assert source.text("t") == value
    source.finish()


def test_a_length_beyond_the_message_names_field_and_offset() -> None:
    with pytest.raises(ExitError, match="t at offset 1: length 5 exceeds the 2 bytes left"):
        Reader(b"\x00\x05ab", 1).text("t")
    with pytest.raises(ExitError, match="exceeds"):
        Reader(b"\xfd" + b"\xff" * 8).blob("t")


def test_text_must_be_utf8() -> None:
    with pytest.raises(ExitError, match="t at offset 0: not UTF-8"):
        Reader(b"\x02\xff\xfe").text("t")


def test_trailing_bytes_are_refused() -> None:
    source = Reader(b"\x01\x02\x03")
    source.u8("n")
    with pytest.raises(ExitError, match="message at offset 1: 2 trailing bytes"):
        source.finish()


def timestamp_bytes(moment: Timestamp) -> bytes:
    out = Writer()
    moment.write(out)
    return bytes(out.data)


def test_worked_timestamps() -> None:
    assert timestamp_bytes(Timestamp(2024, 1, 12, 59, 59, 500_000_000)) == bytes.fromhex(
        "FB0FD0010C3B3BFC1DCD6500000000"
    )
    assert timestamp_bytes(Timestamp(2026, 136, 12, 34, 56, 789_000_000)) == bytes.fromhex(
        "FB0FD4880C2238FC2F072F40000000"
    )


def test_timestamps_of_a_clock_are_whole_seconds() -> None:
    # 2026-05-16 12:34:56.789 UTC
    assert Timestamp.from_unix(1778934896.789, 0) == Timestamp(2026, 136, 12, 34, 56)
    assert Timestamp.from_unix(1735646399, 5) == Timestamp(2024, 366, 11, 59, 59, 5_000_000)
    assert timestamp_bytes(EPOCH) == bytes.fromhex("FB0FD401" + "00" * 7)


timestamps = st.builds(
    Timestamp,
    st.integers(-9999, 9999),
    st.integers(1, 366),
    st.integers(0, 23),
    st.integers(0, 59),
    st.integers(0, 59),
    st.integers(0, 999_999_999),
    st.integers(-25, 25),
    st.integers(-59, 59),
    st.integers(-59, 59),
)


@given(timestamps)
def test_timestamps_round_trip_and_truncation_is_seen(moment: Timestamp) -> None:
    encoded = timestamp_bytes(moment)
    source = Reader(encoded)
    assert Timestamp.read(source) == moment
    source.finish()
    for end in range(len(encoded)):
        with pytest.raises(ExitError, match="timestamp"):
            Timestamp.read(Reader(encoded[:end]))


@pytest.mark.parametrize(
    ("moment", "field"),
    [
        (Timestamp(10_000, 1), "year"),
        (Timestamp(2026, 0), "day of year"),
        (Timestamp(2026, 367), "day of year"),
        (Timestamp(2026, 1, 24), "hour"),
        (Timestamp(2026, 1, 0, 60), "minute"),
        (Timestamp(2026, 1, 0, 0, 60), "second"),
        (Timestamp(2026, 1, 0, 0, 0, 1_000_000_000), "nanosecond"),
        (Timestamp(2026, 1, offset_hours=-26), "offset hours"),
    ],
)
def test_impossible_moments_are_refused(moment: Timestamp, field: str) -> None:
    with pytest.raises(ExitError, match=f"timestamp {field} at offset 0"):
        Timestamp.read(Reader(timestamp_bytes(moment)))
