"""One clip for each kind of container and codec that people have; what the tests of this folder read."""

from pathlib import Path

from videos import copy_packets, write_clip


def x264(**params: object) -> dict[str, str]:
    return {"x264-params": ":".join(f"{name.replace('_', '-')}={value}" for name, value in params.items())}


X265 = "keyint=12:min-keyint=12:log-level=none:pools=1:frame-threads=1"
VARIABLE = [0, 1, 2, 5, 6, 10, 11, 12, 20, 21, *range(30, 80)]
DOUBLED = sorted([*range(0, 60, 2), *range(0, 60, 2)])

# name -> arguments of write_clip; the file's suffix is the container
CLIPS: dict[str, dict] = {
    "h264_b.mp4": {},
    "h264_no_b.mp4": {"b_frames": 0},
    "h264_pyramid.mp4": {"options": x264(keyint=24, bframes=5, b_pyramid="normal", b_adapt=2)},
    "h264_long.mp4": {"frames": 120, "options": x264(keyint=250, bframes=3)},
    "h264_open.mp4": {"options": x264(keyint=12, bframes=3, open_gop=1)},
    "h264_open.mkv": {"options": x264(keyint=12, bframes=3, open_gop=1)},
    "h264_refresh.mp4": {"options": x264(keyint=12, bframes=0, intra_refresh=1)},
    "h264_refresh.mkv": {"options": x264(keyint=12, bframes=0, intra_refresh=1)},
    "h264_interlaced.mp4": {"options": x264(keyint=12, bframes=2, tff=1)},
    "h264_faststart.mp4": {"container_options": {"movflags": "faststart"}},
    "h264_fragmented.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "h264_audio.mp4": {"audio": True},
    "h264_bt709.mp4": {"options": {"x264-params": "keyint=12:colormatrix=bt709:colorprim=bt709:transfer=bt709"}},
    "h264_444.mp4": {"pixels": "yuv444p", "size": (161, 97)},
    "h264_10bit.mp4": {"pixels": "yuv420p10le"},
    "h264_full_range.mp4": {"pixels": "yuvj420p"},
    "h264_odd_width.mp4": {"size": (170, 98)},
    "h264.mov": {},
    "h264.mkv": {},
    "h264.flv": {},
    "h264_b.avi": {},
    "h264_open.avi": {"options": x264(keyint=12, bframes=3, open_gop=1)},
    "h264_no_b.avi": {"b_frames": 0},
    "h264.ts": {},
    "h264_open.ts": {"options": x264(keyint=12, bframes=3, open_gop=1)},
    "h264.h264": {},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": f"{X265}:bframes=3"}},
    "hevc_closed.mkv": {"codec": "libx265", "options": {"x265-params": f"{X265}:bframes=3:open-gop=0"}},
    "hevc.ts": {"codec": "libx265", "options": {"x265-params": f"{X265}:bframes=3"}},
    "mpeg4_b.avi": {"codec": "mpeg4"},
    "mpeg4_b.mp4": {"codec": "mpeg4"},
    "mpeg4_no_b.avi": {"codec": "mpeg4", "b_frames": 0},
    "mjpeg.avi": {"codec": "mjpeg"},
    "mpeg2.mpg": {"codec": "mpeg2video", "container": "mpeg"},
    "mpeg2.ts": {"codec": "mpeg2video"},
    "mpeg2.mkv": {"codec": "mpeg2video"},
    "ffv1.mkv": {"codec": "ffv1"},
    "vp8.webm": {"codec": "libvpx", "options": {"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8"}},
    "vp9_realtime.webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}},
    "av1.mp4": {"codec": "libsvtav1", "options": {"preset": "12", "svtav1-params": "lp=1"}},
    "wmv2.asf": {"codec": "wmv2", "b_frames": 0},
    "variable.mp4": {"times": VARIABLE},
    "variable.mkv": {"times": VARIABLE},
    "doubled_times.mkv": {"times": DOUBLED, "b_frames": 0},
    "one_frame.mp4": {"frames": 1},
    "two_frames.mp4": {"frames": 2},
    "one_frame.avi": {"frames": 1},
    "rotated_90.mp4": {"rotation": 90},
    "rotated_180.mov": {"rotation": 180},
    "rotated_270.mp4": {"rotation": -90},
    "edit_list.mp4": {"first_time": -5},
    "edit_list_open.mp4": {"first_time": -17, "options": x264(keyint=12, bframes=3, open_gop=1)},
}
SOURCES = {  # copied without encoding, from the second key frame on
    "cut_on_key.mp4": "h264_b.mp4",
    "cut_on_open_key.mp4": "h264_open.mp4",
    "cut_on_open_key.mkv": "h264_open.mkv",
    "cut_on_key.avi": "h264_b.avi",
    "cut_hevc.mp4": "hevc.mp4",
}
NAMES = (*CLIPS, *SOURCES)


def write_named(name: str, folder: Path) -> Path:
    """Write the clip of that name into a folder, unless it is there."""
    target = folder / name
    if target.exists():
        return target
    if name not in SOURCES:
        return write_clip(target, **CLIPS[name])
    keys = 0

    def from_second_key(ordinal: int, packet: object) -> bool:
        nonlocal keys
        keys += packet.is_keyframe  # type: ignore[attr-defined]
        return keys >= 2

    return copy_packets(write_named(SOURCES[name], folder), target, from_second_key)
