"""Detectors find what their network sees, at the frame's own scale, and say what is inside any box."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from vad.errors import ConfigError, DataError, VadError
from vad.extract.detectors import YOLOX, BoxFile, Transformers, probabilities_of_best
from vad.extract.yolox_detector import LoadedYOLOX, probabilities_inside, tile_boxes


class Bright:
    """Stands for the network: a cell of stride 8 whose middle is bright is an object, three cells wide and high."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(images)
        height, width = images.shape[2:]
        cells = [(height // s) * (width // s) for s in (8, 16, 32)]
        output = torch.zeros(len(images), sum(cells), 7)
        output[:, : cells[0], 0:2] = 0.5
        output[:, : cells[0], 2:4] = float(np.log(3))
        output[:, : cells[0], 4] = (images[:, 1, 4::8, 4::8] > 200).float().flatten(1)
        output[:, : cells[0], 5], output[:, : cells[0], 6] = 0.9, 0.3
        return output


def frame_with(*spots: tuple[int, int], width: int = 120, height: int = 72) -> np.ndarray:
    frame = np.full((height, width, 3), 50, np.uint8)
    for x, y in spots:
        frame[y - 3 : y + 3, x - 3 : x + 3] = 255
    return frame


def detector(**settings: object) -> tuple[LoadedYOLOX, Bright]:
    network = Bright()
    return LoadedYOLOX(YOLOX(weights="yolox_nano", **settings), network, "cpu"), network  # type: ignore[arg-type]


@pytest.mark.parametrize("enlarge", [1.0, 2.0])
@pytest.mark.parametrize("tiles", [(1, 1), (2, 2)])
def test_boxes_are_in_pixels_of_the_frame(enlarge: float, tiles: tuple[int, int]) -> None:
    look, _ = detector(enlarge=enlarge, tiles=tiles)
    (seen,) = look(frame_with((60, 36))[None], video="v", indices=[0])
    assert len(seen.box) >= 1 and seen.box.dtype == np.float32
    middle = (seen.box[:, :2] + seen.box[:, 2:]) / 2
    assert np.abs(middle - [60, 36]).max() <= 8
    assert np.allclose(seen.box[:, 2:] - seen.box[:, :2], 24 / enlarge)
    assert np.allclose(seen.confidence, 0.9) and np.allclose(seen.probability, [0.9, 0.3], atol=1e-3)


def test_the_network_sees_bgr_padded_with_114_to_a_multiple_of_32() -> None:
    look, network = detector(enlarge=1.5)
    frame = np.zeros((40, 60, 3), np.uint8) + np.array([10, 20, 30], np.uint8)
    look(frame[None], video="v", indices=[0])
    (x,) = network.seen
    assert x.shape == (1, 3, 64, 96) and x.dtype == torch.float32  # 60 x 90, padded
    assert x[0, :, 0, 0].tolist() == [30, 20, 10]
    assert (x[..., 60:, :] == 114).all() and (x[..., 90:] == 114).all() and not (x[..., :60, :90] == 114).any()


def test_batches_and_tiles_cover_every_frame() -> None:
    look, network = detector(batch=2, tiles=(2, 1))
    frames = np.stack([frame_with((20 + 16 * i, 36)) for i in range(5)])
    seen = look(frames, video="v", indices=range(5))
    assert [len(x) for x in network.seen] == [2, 2, 2, 2, 1, 1]
    for i, found in enumerate(seen):
        assert np.abs((found.box[:, :2] + found.box[:, 2:]) / 2 - [20 + 16 * i, 36]).min() <= 8


def test_boxes_are_clipped_to_the_frame() -> None:
    (seen,) = detector()[0](frame_with((4, 4), (116, 68))[None], video="v", indices=[0])
    assert len(seen.box) == 2
    assert seen.box.min() == 0 and seen.box[:, 2].max() == 120 and seen.box[:, 3].max() == 72


def test_probabilities_of_a_motion_box_are_the_highest_of_the_cells_inside() -> None:
    centre = np.array([[4, 4], [12, 4], [20, 4]], np.float32)
    probability = np.array([[0.1, 0.9], [0.6, 0.2], [0.3, 1.0]], np.float32)
    boxes = np.array([[0, 0, 16, 8], [12, 4, 13, 5], [13, 0, 14, 8]], np.float32)
    found = probabilities_inside(centre, probability, boxes)
    np.testing.assert_allclose(
        found, [[0.6, 0.9], [0.6, 0.2], [0.6, 0.2]], atol=1e-3
    )  # the last holds none: the nearest
    assert found.dtype == np.float16 and probabilities_inside(centre, probability, boxes[:0]).shape == (0, 2)
    (seen,) = detector()[0](frame_with((60, 36))[None], video="v", indices=[0])
    np.testing.assert_allclose(
        seen.inside(np.array([[0, 0, 16, 16.0]])), [[0.9, 0.3]], atol=1e-3
    )  # below the threshold too


@pytest.mark.parametrize("tiles", [(1, 1), (2, 1), (3, 2), (4, 4)])
def test_tiles_cover_the_frame_and_overlap(tiles: tuple[int, int]) -> None:
    boxes = tile_boxes(101, 67, tiles, 0.2)
    seen = np.zeros((67, 101), int)
    for x1, y1, x2, y2 in boxes:
        assert 0 <= x1 < x2 <= 101 and 0 <= y1 < y2 <= 67
        seen[y1:y2, x1:x2] += 1
    assert len(boxes) == tiles[0] * tiles[1] and seen.min() >= 1
    assert len({(x2 - x1, y2 - y1) for x1, y1, x2, y2 in boxes}) == 1, "one size, so one shape for the network"
    if tiles[0] > 1:
        assert boxes[0][2] - boxes[1][0] >= 0.15 * (boxes[0][2] - boxes[0][0])


def test_settings_that_make_no_sense_are_refused() -> None:
    for wrong in ({"enlarge": 0.0}, {"tiles": (0, 1)}, {"overlap": 1.0}):
        with pytest.raises(ConfigError, match="YOLOX: expected"):
            YOLOX(weights="yolox_nano", **wrong).load("cpu")  # type: ignore[arg-type]


def test_the_size_of_batches_is_no_part_of_a_recipe() -> None:
    assert YOLOX(weights="yolox_nano", batch=1).content() == YOLOX(weights="yolox_nano").content()
    assert YOLOX(weights="yolox_nano", enlarge=2).content() != YOLOX(weights="yolox_nano").content()


def test_yolox_nano_finds_people_on_ped2(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAD_DATA", str(real_data))
    path = next((real_data / "ucsd_ped").rglob("Test001/100.tif"))
    frame = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    (seen,) = YOLOX(weights="yolox_nano", enlarge=2).load("cpu")(frame[None], video="Test001", indices=[99])
    sure = seen.confidence > 0.3
    assert 12 <= sure.sum() <= 30
    assert (seen.probability[sure].argmax(1) == 0).mean() > 0.8  # COCO's first class is a person
    assert (np.diff(seen.confidence) <= 0).all() and seen.confidence.min() >= YOLOX.floor


@pytest.fixture(scope="module")
def rt_detr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small RT-DETR of random weights, saved as transformers saves it."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    backbone = transformers.RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 16, 16], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = transformers.RTDetrConfig(
        backbone_config=backbone, encoder_hidden_dim=16, encoder_in_channels=[16, 16, 16], feat_strides=[8, 16, 32],
        encoder_ffn_dim=16, encoder_attention_heads=2, d_model=16, num_queries=12, decoder_in_channels=[16, 16, 16],
        decoder_ffn_dim=16, decoder_layers=1, decoder_attention_heads=2, num_labels=5, hidden_expansion=1.0,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("rt_detr")
    transformers.RTDetrForObjectDetection(config).save_pretrained(folder)
    return folder


def test_queries_of_a_transformer_are_objects(rt_detr: Path, tmp_path: Path) -> None:
    settings = Transformers(model=str(rt_detr), size=64, batch=2)
    frames = np.random.default_rng(0).integers(0, 255, (3, 48, 80, 3), np.uint8)
    seen = settings.load("cpu")(frames, video="v", indices=range(3))
    for found in seen:
        assert 0 < len(found.box) <= 12 and found.probability.shape == (len(found.box), 5)
        assert (np.diff(found.confidence) <= 0).all() and found.confidence.min() >= Transformers.floor
        assert found.box.min() >= 0 and found.box[:, 2].max() <= 80 and found.box[:, 3].max() <= 48
        np.testing.assert_array_equal(found.inside(found.box[:1]), found.probability[:1])
    assert set(settings.content()["model"]) == {"config.json", "model.safetensors"}
    with pytest.raises(VadError, match=r"config\.json: there is no such file"):
        Transformers(model=str(tmp_path)).content()
    with pytest.raises(VadError, match="no folder of a model"):
        Transformers(model=str(tmp_path)).load("cpu")


CSV = """video,frame,x1,y1,x2,y2,score,category
a/b.mp4,0,1,2,30,40,0.5,1
a/b.mp4,0,5,5,9,9,0.75,3
a/b.mp4,2,-4,0,99,20,0.25,3
"""
RESULTS = [
    {"image_id": "a/b.mp4/0", "category_id": 1, "bbox": [1, 2, 29, 38], "score": 0.5},
    {"image_id": "a/b.mp4/0", "category_id": 3, "bbox": [5, 5, 4, 4], "score": 0.75},
    {"image_id": "a/b.mp4/2", "category_id": 3, "bbox": [-4, 0, 103, 20], "score": 0.25},
]
WHOLE = {
    "videos": [{"id": 7, "name": "a/b.mp4"}],
    "images": [{"id": 70 + i, "video_id": 7, "frame_id": i} for i in range(3)],
    "annotations": [{**r, "image_id": 70 + int(str(r["image_id"])[-1])} for r in RESULTS],
}


@pytest.mark.parametrize("form", ["csv", "results", "whole"])
def test_boxes_of_a_file_are_those_of_video_and_frame(tmp_path: Path, form: str) -> None:
    path = tmp_path / "boxes"
    path.write_text(CSV if form == "csv" else json.dumps(RESULTS if form == "results" else WHOLE))
    loaded = BoxFile(path=str(path), format="csv" if form == "csv" else "coco", categories=(1, 2, 3)).load("cpu")
    first, second, third = loaded(np.zeros((3, 50, 60, 3), np.uint8), video="a/b.mp4", indices=[0, 1, 2])
    assert first.box.tolist() == [[5, 5, 9, 9], [1, 2, 30, 40]] and first.confidence.tolist() == [0.75, 0.5]
    assert first.probability.tolist() == [[0, 0, 0.75], [0.5, 0, 0]]
    assert first.inside(np.array([[2, 2, 31, 41], [50, 45, 55, 49.0]])).tolist() == [[0.5, 0, 0], [0, 0, 0]]
    assert second.box.shape == (0, 4) and second.inside(np.ones((2, 4))).tolist() == [[0, 0, 0]] * 2
    assert third.box.tolist() == [[0, 0, 60, 20]]
    with pytest.raises(DataError, match="no boxes of the video c"):
        loaded(np.zeros((1, 50, 60, 3), np.uint8), video="c", indices=[0])


def test_a_file_of_boxes_counts_by_its_content(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text(CSV)
    contents = [BoxFile(path=str(tmp_path / name), format="csv").content() for name in ("a.csv", "b.csv")]
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    ("form", "text", "reason"),
    [
        ("csv", "video,frame\na,0\n", "no csv file of boxes.*x1"),
        ("csv", CSV.replace("0.5,1", "much,1"), "no csv file of boxes.*much"),
        ("csv", CSV.replace("0.5,1", "0.5,99"), "category 99"),
        ("coco", "{}", "no coco file of boxes"),
        ("coco", "[1]", "no coco file of boxes"),
        ("coco", "[", "cannot be read as JSON"),
    ],
)
def test_damaged_files_of_boxes_are_named(tmp_path: Path, form: str, text: str, reason: str) -> None:
    (tmp_path / "boxes").write_text(text)
    with pytest.raises(VadError, match=reason) as error:
        BoxFile(path=str(tmp_path / "boxes"), format=form).load("cpu")  # type: ignore[arg-type]
    assert str(tmp_path / "boxes") in str(error.value)


def test_the_best_candidate_of_none_is_zero() -> None:
    assert probabilities_of_best(np.ones((2, 4)), np.zeros((0, 4)), np.zeros((0, 3))).tolist() == [[0, 0, 0]] * 2
