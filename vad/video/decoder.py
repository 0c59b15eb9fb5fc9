"""One open file, and the frame before which its decoder stands."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from av import FFmpegError
from av.video.reformatter import VideoReformatter

from vad.errors import VideoError
from vad.video import packets
from vad.video.verdict import Verdict

if TYPE_CHECKING:
    from av import Packet, VideoFrame


class Decoder:
    """Decodes on from `next`, or from a key packet. What FFmpeg raises passes through; what it gives is checked.

    Args:
        path: The file.
        verdict: What is known of it.
        strict: Raise at damage.
        skip: Leave out pictures before the one asked for that no other refers to, about half of footage with B-frames.
    """

    def __init__(self, path: Path, verdict: Verdict, *, strict: bool, skip: bool = False) -> None:
        self._path = path
        self._verdict = verdict
        self.strict = strict
        self._skip = skip
        self._converter, self._scaler = VideoReformatter(), VideoReformatter()  # each is set up once
        self._by_position = np.argsort(verdict.position)
        self._positions = verdict.position[self._by_position]
        self._open()

    def _open(self) -> None:
        self._container, self._stream = packets.open_stream(self._path, strict=self.strict)
        self.sought = False  # it has decoded on from the start of the file
        self._skipping = False  # what the open stream does at the moment
        self._stand(before=0, packet=0)

    def _stand(self, *, before: int, packet: int) -> None:
        self._packets = packets.read_packets(self._container, self._stream)
        self._ordinal = packet  # of the packet that comes next
        self._shown: list[VideoFrame] = []  # decoded, not asked for yet; the last comes first
        self._drained = False
        self._first = before  # frames before this one belong to an earlier key packet, and may be wrong
        self._asked = before  # frames before this one are not asked for
        self.next = before

    def close(self) -> None:
        """Release the file."""
        self._container.close()

    def __del__(self) -> None:  # PyAV's container and streams refer to each other: without this they wait for the gc
        if hasattr(self, "_container"):
            self.close()

    def seek(self, start: int) -> None:
        """Stand before the frame of the packet `start`, or before the first frame where no seek finds that packet."""
        verdict = self._verdict
        if verdict.access != "sequential":
            for time in sorted({int(verdict.pts[start]), int(verdict.dts[start])} - {Verdict.NO_TIME}, reverse=True):
                with suppress(FFmpegError):  # a damaged index
                    self._container.seek(time, stream=self._stream, backward=True)
                    self._stand(before=int(verdict.number[start]) if start else 0, packet=start)
                    if self._arrive(start):
                        self.sought = True
                        return
        self.close()
        self._open()

    def _arrive(self, start: int) -> bool:
        """Read on to the packet `start`, without decoding; whether the seek had landed before it."""
        for packet in self._packets:
            ordinal = self._find(packet)
            if ordinal > start or not packet.size:
                return False
            if ordinal == start:
                self._push(packet)
                return True
        return False

    def _find(self, packet: "Packet") -> int:
        """Which packet of the file this is; -1 for none of them."""
        position = -1 if packet.pos is None else packet.pos
        place = int(np.searchsorted(self._positions, position))
        if place == len(self._positions) or self._positions[place] != position:
            return -1
        return int(self._by_position[place])

    def _push(self, packet: "Packet") -> None:
        if not packet.size:
            self._drained = True
        elif self._ordinal >= self._verdict.packets or packet.size != self._verdict.length[self._ordinal]:
            raise VideoError(self._path, f"packet {self._ordinal} is another than when the file was examined")
        if self._skip and packet.size:
            # A packet that shows nothing may be the second field of the frame asked for.
            skipping = 0 <= self._verdict.number[self._ordinal] < self._asked
            if skipping != self._skipping:
                self._stream.codec_context.skip_frame = "NONREF" if skipping else "DEFAULT"
                self._skipping = skipping
        shown = packets.decode(packet, self._ordinal)
        self._ordinal += bool(packet.size)
        self._shown = [*reversed(shown), *self._shown]

    def _following(self) -> "VideoFrame | None":
        """The next picture that counts; `None` at the end."""
        while True:
            while not self._shown:
                packet = None if self._drained else next(self._packets, None)
                if packet is None:
                    return None
                self._push(packet)
            frame = self._shown.pop()
            number = -1 if frame.pts is None else int(self._verdict.number[frame.pts])
            if number < self._first:
                continue
            if number != self.next and not (self._skip and self.next < number <= self._asked):
                raise VideoError(self._path, f"decoding gives frame {number} where frame {self.next} belongs")
            if frame.is_corrupt and self.strict:
                raise VideoError(self._path, f"frame {number} is damaged")
            self.next = number + 1
            return frame

    def read(self, index: int, out: np.ndarray) -> None:
        """Decode on to the frame `index`, which is `next` or later, and stretch it into `out` uint8 (h, w, 3).

        Where checksums are known they are compared at the footage's own size, which is made for that alone: a picture
        of another size always comes out of the decoded one, so that it is the same whether it was compared or not.
        """
        frame = None
        self._asked = index
        while self.next <= index:
            frame = self._following()
            if frame is None:
                raise VideoError(self._path, f"decoding ends after {self.next} of {self._verdict.frames} frames")
        if frame is None:
            raise ValueError(f"frame {index} lies behind the decoder, which stands before {self.next}")
        turns = self._verdict.rotation
        size = packets.upright_size(frame, turns)
        if size != self._verdict.size:
            width, height = self._verdict.size
            raise VideoError(self._path, f"frame {index} is {size[0]} x {size[1]}, the first is {width} x {height}")
        scaled = out.shape[1::-1] != size
        checksums = self._verdict.checksum
        if not scaled or len(checksums):
            whole = np.empty((size[1], size[0], 3), np.uint8) if scaled else out
            packets.to_rgb(frame, whole, turns, self._converter)
            if len(checksums) and checksums[index] != packets.checksum(whole):
                raise VideoError(
                    self._path, f"frame {index} is not what the first decode of the file gave: it is damaged"
                )
        if scaled:
            packets.to_rgb(frame, out, turns, self._scaler)

    def finish(self) -> None:
        """Raise where frames follow the last one."""
        if self._following() is not None:
            raise VideoError(self._path, f"decoding gives more than {self._verdict.frames} frames")
