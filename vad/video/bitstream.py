"""What the first bytes of a packet say: can decoding start here, does it show a picture, does it hold exactly one?"""

from collections.abc import Iterator

IDR_H264, SEI_H264, IDR_HEVC, CRA_HEVC, BLA_HEVC = 5, 6, (19, 20), (21,), (16, 17, 18)
RECOVERY_POINT = 6  # SEI payload type
SMALLEST_VOP = 20  # bytes: a shorter MPEG-4 packet is a placeholder that repeats the picture before it


def length_prefix(codec: str, extradata: bytes | None) -> int:
    """Bytes of the length before each NAL unit; 0 where units are separated by start codes (Annex B)."""
    if codec == "h264" and extradata and len(extradata) > 4 and extradata[0] == 1:
        return (extradata[4] & 3) + 1
    if codec == "hevc" and extradata and len(extradata) > 21 and extradata[0] == 1:
        return (extradata[21] & 3) + 1
    return 0


def nal_units(data: bytes, prefix: int) -> Iterator[bytes]:
    """The NAL units of a packet, without length or start code."""
    if prefix:
        position = 0
        while position + prefix < len(data):
            length = int.from_bytes(data[position : position + prefix], "big")
            yield data[position + prefix : position + prefix + length]
            position += prefix + length
        return
    yield from data.split(b"\0\0\1")[1:]


def starts_decoding(codec: str, data: bytes, prefix: int) -> bool:
    """Whether a packet that the container calls a key frame gives, with what follows it, the same pictures as a decode
    from the start of the file.

    H.264: an IDR picture, or a recovery point that is exact at once (an I picture of an open GOP); not the refresh that
    is spread over many frames. HEVC: IDR, CRA or BLA. Other codecs: what the container says.
    """
    if codec == "h264":
        for unit in nal_units(data, prefix):
            kind = unit[0] & 31 if unit else 0
            if kind == IDR_H264 or (kind == SEI_H264 and _exact_recovery(unit)):
                return True
        return False
    if codec == "hevc":
        kinds = ((unit[0] >> 1) & 63 for unit in nal_units(data, prefix) if unit)
        return any(kind in IDR_HEVC + CRA_HEVC + BLA_HEVC for kind in kinds)
    return True


def is_closed(codec: str, data: bytes, prefix: int) -> bool:
    """Whether a key packet is a true IDR picture (H.264, HEVC): decord's random access needs that."""
    if codec == "h264":
        return any(unit and unit[0] & 31 == IDR_H264 for unit in nal_units(data, prefix))
    if codec == "hevc":
        return any(unit and (unit[0] >> 1) & 63 in IDR_HEVC for unit in nal_units(data, prefix))
    return True


def _exact_recovery(unit: bytes) -> bool:
    """An SEI message `recovery_point` with recovery_frame_cnt 0 and exact_match_flag 1 (H.264, D.1.8)."""
    position = 1
    while position + 2 < len(unit) and unit[position] != 0x80:
        kind = size = 0
        while position < len(unit) and unit[position] == 255:
            kind, position = kind + 255, position + 1
        kind, position = kind + unit[position] if position < len(unit) else -1, position + 1
        while position < len(unit) and unit[position] == 255:
            size, position = size + 255, position + 1
        size, position = size + unit[position] if position < len(unit) else 0, position + 1
        if kind == RECOVERY_POINT and position < len(unit):
            return unit[position] & 0xC0 == 0xC0  # ue(v) of 0 is one set bit, then the flag
        position += size
    return False


def shows_one_picture(codec: str, data: bytes) -> bool | None:
    """Whether a packet gives exactly one picture: `True`, `False` for none, `None` where only a decode can tell."""
    if codec == "vp8":
        return bool(data[0] & 0x10) if data else False
    if codec == "vp9":
        return _vp9_shows(data)
    if codec == "mpeg4":
        return True if len(data) >= SMALLEST_VOP and data.count(b"\0\0\1\xb6") == 1 else None
    return True


def _vp9_shows(data: bytes) -> bool | None:
    if not data or data[-1] & 0xE0 == 0xC0:  # a superframe: hidden frames and, by its definition, one that is shown
        return True if data else None
    bits = f"{int.from_bytes(data[:2], 'big'):016b}"
    position = 5 if bits[2:4] == "11" else 4  # frame marker, profile, and a reserved bit of profile 3
    if bits[position] == "1":  # show_existing_frame
        return True
    return bits[position + 2] == "1"  # frame_type, show_frame
