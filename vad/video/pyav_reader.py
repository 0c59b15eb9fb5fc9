"""Random access through FFmpeg by the packets that a verdict lists."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vad.errors import VideoError
from vad.video import packets
from vad.video.local_reader import LocalReader
from vad.video.verdict import Verdict

if TYPE_CHECKING:
    from av import Packet, VideoFrame

RECENT = 32  # frames kept where a step back would mean decoding from the start of the file


class PyAVReader(LocalReader):
    """Reads frames by seeking to the key packet before them; decodes on from where it stands where that is nearer.

    Every packet is recognised by its place in the file and every picture by its packet, so that a seek that lands
    elsewhere or a decoder that leaves something out is an error and never another frame.
    """

    def __init__(self, path: Path, verdict: Verdict) -> None:
        super().__init__(path)
        self.verdict = verdict
        self.reasons = verdict.reasons
        self.backend = "pyav-sequential" if verdict.access == "sequential" else "pyav"
        self._starts = verdict.keyframes
        self._start_frames = verdict.number[self._starts]
        self._start_frames[0] = 0  # the first packet itself may show nothing, or a later frame
        self._recent: OrderedDict[int, np.ndarray] = OrderedDict()
        self._decoder: _Decoder | None = None

    def __len__(self) -> int:
        return self.verdict.frames

    @property
    def fps(self) -> float | None:
        return self.verdict.fps

    @property
    def size(self) -> tuple[int, int]:
        return self.verdict.size

    def frames(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        wanted = self._wanted(indices)
        unique, where = np.unique(wanted, return_inverse=True)
        pictures = self._empty(len(unique))
        with packets.errors_name(self.path):
            for row, index in enumerate(unique):
                self._read(int(index), pictures[row])
        return pictures if np.array_equal(wanted, unique) else pictures[where]

    def __iter__(self) -> Iterator[np.ndarray]:
        self._check()
        decoder = _Decoder(self.path, self.verdict)
        try:
            for index in range(len(self)):
                picture = self._empty(1)[0]
                with packets.errors_name(self.path):
                    decoder.read(index, picture)
                yield picture
            with packets.errors_name(self.path):
                decoder.finish()
        finally:
            decoder.close()

    def close(self) -> None:
        super().close()
        self._forget()
        self._recent.clear()

    def _forget(self) -> None:
        if self._decoder is not None:
            self._decoder.close()
            self._decoder = None

    def _read(self, index: int, out: np.ndarray) -> None:
        if index in self._recent:
            out[...] = self._recent[index]
            return
        try:
            if self._decoder is None:
                self._decoder = _Decoder(self.path, self.verdict)
            start = max(0, int(np.searchsorted(self._start_frames, index, side="right")) - 1)
            if not self._start_frames[start] <= self._decoder.next <= index:
                self._decoder.seek(int(self._starts[start]))
            self._decoder.read(index, out)
        except BaseException:
            self._forget()  # its position is unknown now
            raise
        if self.backend == "pyav-sequential":
            self._recent[index] = out.copy()
            if len(self._recent) > RECENT:
                self._recent.popitem(last=False)


class _Decoder:
    """One open file, standing before frame `next`."""

    def __init__(self, path: Path, verdict: Verdict) -> None:
        from av.video.reformatter import VideoReformatter

        self._path = path
        self._verdict = verdict
        self._converter = VideoReformatter()
        self._by_position = np.argsort(verdict.position)
        self._positions = verdict.position[self._by_position]
        self._open()

    def _open(self) -> None:
        self._container, self._stream = packets.open_stream(self._path)
        self._demuxed = packets.read_packets(self._container, self._stream)
        self._ordinal = 0  # of the packet that comes next
        self._shown: list[VideoFrame] = []  # decoded, not asked for yet; the last comes first
        self._drained = False
        self._first = 0  # frames before this one belong to an earlier start, and may be wrong
        self.next = 0

    def close(self) -> None:
        self._container.close()

    def seek(self, start: int) -> None:
        """Stand before the frame of the packet `start`, or before the first frame where no seek finds that packet."""
        verdict = self._verdict
        times = {int(verdict.pts[start]), int(verdict.dts[start])} - {Verdict.NO_TIME}
        if verdict.access != "sequential":
            for time in sorted(times, reverse=True):
                self._container.seek(time, stream=self._stream, backward=True)
                if self._arrive(start):
                    self._first = self.next = int(verdict.number[start]) if start else 0
                    return
        self.close()  # from the start of the file: slow, and always right
        self._open()

    def _arrive(self, start: int) -> bool:
        """Read on to the packet `start`, without decoding; whether the seek had landed before it."""
        self._demuxed = packets.read_packets(self._container, self._stream)
        self._shown, self._drained = [], False
        for packet in self._demuxed:
            ordinal = self._find(packet)
            if ordinal > start or not packet.size:
                return False
            if ordinal == start:
                self._ordinal = start
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
        verdict = self._verdict
        if packet.size:
            if self._ordinal >= verdict.packets or packet.size != verdict.length[self._ordinal]:
                raise VideoError(self._path, f"packet {self._ordinal} is another than when the file was examined")
        else:
            self._drained = True
        self._shown = [*reversed(packets.decode(packet, self._ordinal)), *self._shown]
        self._ordinal += bool(packet.size)

    def _following(self) -> "VideoFrame | None":
        """The next picture that counts; `None` at the end."""
        while True:
            while not self._shown:
                if self._drained:
                    return None
                packet = next(self._demuxed, None)
                if packet is None:
                    return None
                self._push(packet)
            frame = self._shown.pop()
            number = -1 if frame.pts is None else int(self._verdict.number[frame.pts])
            if number < self._first and self._first > 0:
                continue
            if number != self.next:
                raise VideoError(self._path, f"decoding gives frame {number} where frame {self.next} belongs")
            if frame.is_corrupt:
                raise VideoError(self._path, f"frame {number} is damaged")
            self.next += 1
            return frame

    def read(self, index: int, out: np.ndarray) -> None:
        """Decode on to the frame `index`, which is `next` or later, and write it into `out` uint8 (h, w, 3)."""
        while True:
            frame = self._following()
            if frame is None:
                raise VideoError(self._path, f"decoding ends after {self.next} of {self._verdict.frames} frames")
            if self.next > index:
                break
        turns = self._verdict.rotation
        size = (frame.height, frame.width) if turns % 2 else (frame.width, frame.height)
        if size != self._verdict.size:
            width, height = self._verdict.size
            raise VideoError(self._path, f"frame {index} is {size[0]} x {size[1]}, the first is {width} x {height}")
        packets.to_rgb(frame, out, turns, self._converter)

    def finish(self) -> None:
        """Raise where frames follow the last one."""
        if self._following() is not None:
            raise VideoError(self._path, f"decoding gives more than {self._verdict.frames} frames")
