"""Which pixels are frame i? Frame i is frame i of a sequential decode, whatever the container."""

from vad.video.full_decode import decode_check
from vad.video.joined import JoinedReader
from vad.video.reader import open_video
from vad.video.video_reader import VideoReader

__all__ = ["JoinedReader", "VideoReader", "decode_check", "open_video"]
