"""Random access through FFmpeg by the packets that a verdict lists."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vad.errors import VideoError
from vad.video import packets
from vad.video.decoder import Decoder
from vad.video.local_reader import LocalReader
from vad.video.verdict import Verdict, keep_verdict

RECENT = 32  # frames kept where a step back would mean decoding from the start of the file


class PyAVReader(LocalReader):
    """Reads frames by seeking to the key packet before them; decodes on from where it stands where that is nearer.

    Every packet is recognised by its place in the file and every picture by its packet, so that a seek that lands
    elsewhere or a decoder that leaves something out is an error and never another frame.

    An open GOP may name pictures before it that a decoder which starts there never saw; FFmpeg calls that damage. When
    decoding fails after a seek, the file is decoded once from its start, strictly: either that names the damage, or the
    checksums of its frames show from then on whether a decode that forgives is right.

    What FFmpeg does not notice is not noticed here: H.264 has no checksums, and behind a damaged header that still is
    one, a picture may depend on where decoding began. Of files with a few random bytes changed it was one in ten
    thousand.
    """

    def __init__(self, path: Path, verdict: Verdict) -> None:
        super().__init__(path)
        self.verdict = verdict
        self.reasons = verdict.reasons
        self.backend = "pyav-sequential" if verdict.access == "sequential" else "pyav"
        self._starts = verdict.keyframes
        self._start_frames = verdict.number[self._starts]
        self._start_frames[0] = 0  # the first packet itself may show nothing, or a later frame
        self._recent: OrderedDict[tuple[int, tuple[int, ...]], np.ndarray] = OrderedDict()  # by index and shape
        self._decoder: Decoder | None = None
        self._from_start = True
        self._skip = verdict.codec == "h264"  # in HEVC, what FFmpeg counts as unreferenced may be referred to

    def __len__(self) -> int:
        return self.verdict.frames

    @property
    def fps(self) -> float | None:
        return self.verdict.fps

    @property
    def size(self) -> tuple[int, int]:
        return self.verdict.size

    def frames(self, indices: Sequence[int] | np.ndarray, *, size: tuple[int, int] | None = None) -> np.ndarray:
        wanted = self._wanted(indices)
        unique, where = np.unique(wanted, return_inverse=True)
        pictures = self._empty(len(unique), size)
        for row, index in enumerate(unique.tolist()):
            self._read(index, pictures[row])
        return pictures if np.array_equal(wanted, unique) else pictures[where]

    def __iter__(self) -> Iterator[np.ndarray]:
        self._check()
        with packets.errors_name(self.path):
            decoder = Decoder(self.path, self.verdict, strict=True)
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
        if (index, out.shape) in self._recent:
            out[...] = self._recent[index, out.shape]
            return
        try:
            self._decode(index, out)
        except VideoError:
            if self._skip:
                self._skip = False  # a file that only decodes whole, or a damaged one
                self._read(index, out)
                return
            if self._from_start:
                raise
            if not len(self.verdict.checksum):
                self._take_checksums()
                self._read(index, out)
                return
            self._decode(index, out, from_start=True)  # no key packet helps: slow, and right
        if self.backend == "pyav-sequential":
            self._recent[index, out.shape] = out.copy()
            if len(self._recent) > RECENT:
                self._recent.popitem(last=False)

    def _decode(self, index: int, out: np.ndarray, *, from_start: bool = False) -> None:
        """Read one frame by the nearest way; `_from_start` says afterwards whether no seek was part of it."""
        strict = from_start or not len(self.verdict.checksum)
        start = max(0, int(np.searchsorted(self._start_frames, index, side="right")) - 1)
        near = self._decoder is not None and self._start_frames[start] <= self._decoder.next <= index
        if from_start or (self._decoder is not None and not near and self._decoder.strict != strict):
            self._forget()
        self._from_start = False
        try:
            with packets.errors_name(self.path):
                if self._decoder is None:
                    self._decoder = Decoder(self.path, self.verdict, strict=strict, skip=self._skip)
                    near = from_start or start == 0
                if not near:
                    self._decoder.seek(int(self._starts[start]))
                self._from_start = self._decoder.strict and not self._decoder.sought
                self._decoder.read(index, out)
        except BaseException:
            self._forget()  # its position is unknown now
            raise

    def _take_checksums(self) -> None:
        """Decode everything strictly; raises `VideoError` where the file is damaged."""
        checksums = np.fromiter((packets.checksum(picture) for picture in self), np.uint32, len(self))
        self.verdict = replace(self.verdict, checksum=checksums)
        keep_verdict(self.path, self.verdict)
