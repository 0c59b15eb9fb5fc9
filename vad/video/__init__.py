"""Which pixels are frame i? Frame i is frame i of a sequential decode, whatever the container."""

from vad.video.video_reader import VideoReader

__all__ = ["VideoReader"]
