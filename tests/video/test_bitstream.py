"""What the first bytes of a packet say."""

import pytest

from vad.video.bitstream import is_closed, length_prefix, nal_units, shows_one_picture, starts_decoding

IDR = b"\x65\x88"
PICTURE = b"\x41\x9a"
EXACT = b"\x06\x06\x01\xc4\x80"  # recovery point: count 0, exact match
INEXACT = b"\x06\x06\x01\x84\x80"
REFRESH = b"\x06\x06\x01\x2c\x80"  # recovery after some frames
OTHER_FIRST = b"\x06\x05\x02\xaa\xbb\x06\x01\xc4\x80"  # another message stands before it


def annex_b(*units: bytes) -> bytes:
    return b"".join(b"\0\0\0\1" + unit for unit in units)


def prefixed(*units: bytes) -> bytes:
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


@pytest.mark.parametrize(
    ("units", "starts", "closed"),
    [
        ([IDR], True, True),
        ([b"\x67\x00", b"\x68\x00", IDR], True, True),
        ([EXACT, PICTURE], True, False),
        ([OTHER_FIRST, PICTURE], True, False),
        ([INEXACT, PICTURE], False, False),
        ([REFRESH, PICTURE], False, False),
        ([PICTURE], False, False),
        ([], False, False),
    ],
)
def test_h264_starts_at_idr_pictures_and_exact_recovery_points(units: list[bytes], starts: bool, closed: bool) -> None:
    for data, prefix in ((annex_b(*units), 0), (prefixed(*units), 4)):
        assert starts_decoding("h264", data, prefix) is starts
        assert is_closed("h264", data, prefix) is closed


@pytest.mark.parametrize(
    ("kind", "starts", "closed"),
    [(19, True, True), (20, True, True), (21, True, False), (16, True, False), (1, False, False)],
)
def test_hevc_starts_at_idr_cra_and_bla_pictures(kind: int, starts: bool, closed: bool) -> None:
    data = prefixed(bytes([kind << 1, 1]))
    assert starts_decoding("hevc", data, 4) is starts
    assert is_closed("hevc", data, 4) is closed


def test_units_that_lie_about_their_length_end_with_the_packet() -> None:
    assert list(nal_units(b"\0\0\0\xff\x65\x01", 4)) == [b"\x65\x01"]
    assert list(nal_units(b"\0\0", 4)) == []


def test_the_length_prefix_is_read_from_the_codecs_header() -> None:
    assert length_prefix("h264", bytes([1, 100, 0, 30, 0xFF, 0])) == 4
    assert length_prefix("h264", b"\0\0\0\1\x67") == 0
    assert length_prefix("hevc", bytes([1]) + bytes(20) + bytes([0xF1]) + bytes(3)) == 2
    assert length_prefix("mpeg4", None) == 0


@pytest.mark.parametrize(
    ("codec", "data", "shows"),
    [
        ("vp8", b"\x10\x00", True),
        ("vp8", b"\x00\x00", False),
        ("vp9", bytes([0b10000010, 0]), True),  # key frame, shown
        ("vp9", bytes([0b10000000, 0]), False),  # hidden
        ("vp9", bytes([0b10001000, 0]), True),  # shows an earlier one
        ("vp9", bytes([0b10000000, 0, 0xC0]), True),  # superframe
        ("mpeg4", b"\0\0\1\xb6" + bytes(30), True),
        ("mpeg4", b"\0\0\1\xb6\x00", None),  # placeholder
        ("mpeg4", b"\0\0\1\xb6" + bytes(30) + b"\0\0\1\xb6" + bytes(30), None),  # packed
        ("h264", b"", True),
    ],
)
def test_packets_without_one_picture_are_told(codec: str, data: bytes, shows: bool | None) -> None:
    assert shows_one_picture(codec, data) is shows
