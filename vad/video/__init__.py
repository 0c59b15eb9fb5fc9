"""Which pixels are frame i? Frame i is frame i of a sequential decode, whatever the container."""

from vad.video.reader import open_video
from vad.video.video_reader import VideoReader

__all__ = ["VideoReader", "open_video"]
