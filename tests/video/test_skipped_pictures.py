"""Pictures that no other refers to are not decoded on the way to a frame, and the frame is the same."""

from pathlib import Path

import numpy as np
import pytest
from videos import frame_number, sequential, write_clip

from vad.errors import VideoError
from vad.video import open_video, packets
from vad.video.decoder import Decoder


def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Ordinals of the pictures that decoders give from here on."""
    given: list[int] = []
    decode = packets.decode

    def counting(packet: object, ordinal: int) -> list[object]:
        shown = decode(packet, ordinal)
        given.extend(frame.pts for frame in shown)
        return shown

    monkeypatch.setattr(packets, "decode", counting)
    return given


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.mkv", "a.ts"])
@pytest.mark.parametrize("pyramid", ["none", "normal"])
def test_any_frame_after_any_other_is_that_of_a_sequential_decode(tmp_path: Path, name: str, pyramid: str) -> None:
    params = f"keyint=40:min-keyint=40:bframes=3:b-adapt=0:scenecut=0:b-pyramid={pyramid}"
    path = write_clip(tmp_path / name, frames=100, options={"x264-params": params})
    truth, random = sequential(path), np.random.default_rng(0)
    with open_video(path) as reader:
        for _ in range(60):
            frames = np.sort(random.choice(100, 3, replace=False))
            assert np.array_equal(reader.frames(frames), truth[frames])
        assert reader._skip, "nothing was wrong with the file"  # type: ignore[attr-defined]


def test_half_of_footage_with_b_frames_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = "keyint=100:min-keyint=100:bframes=3:b-adapt=0:scenecut=0:b-pyramid=none"
    path = write_clip(tmp_path / "a.mp4", frames=100, options={"x264-params": params})
    with open_video(path) as reader:
        given = decoded(monkeypatch)
        assert frame_number(reader.frames([81])[0]) == 81
    assert 20 <= len(given) < 30


def test_where_it_cannot_be_left_out_everything_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_clip(tmp_path / "a.mp4", frames=50)
    following = Decoder._following

    def failing(self: Decoder) -> object:
        if self._skip:
            raise VideoError(path, "a decoder that needs every picture")
        return following(self)

    monkeypatch.setattr(Decoder, "_following", failing)
    with open_video(path) as reader:
        assert [frame_number(picture) for picture in reader.frames([30, 7, 31])] == [30, 7, 31]
