"""A folder of images is a video."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from videos import frame_number, numbered_picture

from vad.errors import VideoError
from vad.video import open_video


def write_images(folder: Path, names: list[str], mode: str = "RGB") -> Path:
    folder.mkdir()
    for number, name in enumerate(names):
        Image.fromarray(numbered_picture(number)).convert(mode).save(folder / name)
    return folder


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "jpg", "TIFF", "JPEG"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_images_are_read_in_order(suffix: str, mode: str, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "clip", [f"{number:03d}.{suffix}" for number in range(12)], mode)
    with open_video(folder) as reader:
        assert (len(reader), reader.size, reader.fps, reader.backend) == (12, (160, 96), None, "folder")
        pictures = reader.frames([11, 0, 5, 5])
        assert pictures.dtype == np.uint8
        assert [frame_number(picture) for picture in pictures] == [11, 0, 5, 5]
        if mode == "L":
            assert np.array_equal(pictures[..., 0], pictures[..., 2])
        assert [frame_number(picture) for picture in reader] == list(range(12))


def test_the_last_number_of_a_name_orders_the_frames(tmp_path: Path) -> None:
    names = ["cam2_frame0.png", "cam1_frame1.png", "cam2_frame2.png", *(f"cam1_frame{n}.png" for n in range(3, 12))]
    with open_video(write_images(tmp_path / "clip", names)) as reader:
        assert [frame_number(picture) for picture in reader] == list(range(12))


def test_hidden_files_and_other_files_are_no_frames(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "clip", ["001.png", "002.png"])
    for name in ("._001.png", ".hidden.png", "notes.txt", "Thumbs.db"):
        (folder / name).write_bytes(b"no image")
    (folder / "003.png").mkdir()
    assert len(open_video(folder)) == 2


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "jpg"])
@pytest.mark.parametrize("keep", [0.0, 0.02, 0.6, 0.95])
def test_a_truncated_image_is_an_error_that_names_it(suffix: str, keep: float, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "clip", [f"{number:03d}.{suffix}" for number in range(4)])
    broken = folder / f"002.{suffix}"
    content = broken.read_bytes()
    broken.write_bytes(content[: int(len(content) * keep)])
    with open_video(folder) as reader:
        assert frame_number(reader.frames([3])[0]) == 3
        with pytest.raises(VideoError, match=rf"002\.{suffix}: cannot be read as an image"):
            reader.frames([2])
        with pytest.raises(VideoError, match=rf"002\.{suffix}"):
            list(reader)


def test_an_image_of_another_size_is_an_error_that_names_it(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "clip", ["1.png", "2.png"])
    Image.new("RGB", (80, 96)).save(folder / "2.png")
    with pytest.raises(VideoError, match=r"2\.png: is 80 x 96, the first frame of its folder is 160 x 96"):
        open_video(folder).frames([0, 1])


def test_more_than_8_bits_are_refused(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    Image.fromarray(np.full((96, 160), 40000, np.uint16)).save(tmp_path / "clip" / "1.png")
    with pytest.raises(VideoError, match=r"1\.png: .* more than 8 bits"):
        open_video(tmp_path / "clip")


def test_a_folder_without_images_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="holds no images"):
        open_video(tmp_path)


def test_the_frames_of_ped2_are_read(real_data: Path) -> None:
    folder = real_data / "ucsd_ped" / "UCSDped2" / "Test" / "Test001"
    with open_video(folder) as reader:
        assert (len(reader), reader.size) == (180, (360, 240))
        picture = reader.frames([9])[0]
    assert np.array_equal(picture[..., 0], np.asarray(Image.open(folder / "010.tif")))
    assert np.array_equal(picture[..., 0], picture[..., 1])
