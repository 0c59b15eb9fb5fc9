"""`vad compare` and `vad show` on two finished runs over a small benchmark of the user's own footage."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from vad.benchmarks import Footage
from vad.cli.main import main
from vad.evaluation import evaluate
from vad.scores import Scores
from vad.types import Record, ScoredVideo

FRAMES = 40


@pytest.fixture
def footage(tmp_path: Path) -> Path:
    root = tmp_path / "footage"
    draw = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        (root / "test" / name).mkdir(parents=True)
        for index in range(FRAMES):
            picture = draw.integers(0, 255, (24, 32), dtype=np.uint8)
            Image.fromarray(picture).save(root / "test" / name / f"{index:03d}.png")
        (root / "test" / f"{name}.csv").write_text("start,end\n10,25\n" if name != "c" else "start,end\n")
    return root


def finish_run(path: Path, footage: Path, noise: float, seed: int) -> None:
    """A run whose frame scores are the truth and noise."""
    benchmark = Footage(str(footage))
    draw = np.random.default_rng(seed)
    videos = benchmark.videos("test")
    score = np.concatenate([benchmark.truth(v).frames + noise * draw.normal(size=FRAMES) for v in videos])
    record = Record(
        videos=tuple(ScoredVideo(v.id, "test", FRAMES) for v in videos),
        offsets=np.arange(len(videos) + 1, dtype=np.int64) * FRAMES,
        frame=np.tile(np.arange(FRAMES, dtype=np.int32), len(videos)),
    )
    header = {"method": "Noise", "benchmark": "Footage", "protocol": "unsupervised_partial", "range": "raw"}
    scores = Scores(record=record, score=score, header={**header, "floor": None, "chain": None})
    path.mkdir(parents=True)
    scores.save(path / "scores.npz")
    (path / "metrics.json").write_text(json.dumps(evaluate(scores, benchmark, draws=200).to_json()))
    (path / "provenance.json").write_text(json.dumps({"parameters": 10, "seconds": {"fit": 1.0}}))
    described = {"class_path": "vad.benchmarks.Footage", "init_args": {"root": str(footage)}}
    (path / "config.yaml").write_text(yaml.safe_dump({"data": {"init_args": {"benchmark": described}}}))


@pytest.fixture
def runs(tmp_path: Path, footage: Path) -> Path:
    finish_run(tmp_path / "runs" / "good" / "base" / "seed-0", footage, noise=0.3, seed=0)
    finish_run(tmp_path / "runs" / "poor" / "base" / "seed-0", footage, noise=30.0, seed=1)
    return tmp_path / "runs"


def curves_of(page: str) -> dict:
    return json.loads(page.split('type="application/json">')[1].split("</script>")[0])


def test_compare_writes_table_csv_and_a_page_that_needs_nothing_else(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["compare", str(runs), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "comparison.html" in printed
    page = (out / "comparison.html").read_text()
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    ((setting, content),) = curves_of(page).items()
    assert setting == "Footage / unsupervised_partial / frames / 120"
    assert content["methods"] == ["good", "poor"]
    assert [video["abnormal"] for video in content["videos"]] == [[[10, 25]], [[10, 25]], []]
    for video in content["videos"]:
        assert all(len(curve) == FRAMES for curve in video["curves"].values())
    good = content["videos"][0]["curves"]["good"]
    assert np.mean(good[12:22]) > np.mean(good[:8])
    text = (out / "comparison.md").read_text()
    assert text.index("| good |") < text.index("| poor |")
    assert "points above poor: clear" in text


def test_a_run_whose_benchmark_is_gone_is_still_in_the_table(
    runs: Path, footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    footage.rename(tmp_path / "elsewhere")
    assert main(["compare", str(runs), "--out", str(tmp_path / "out")]) == 0
    assert "no curves and no paired differences" in capsys.readouterr().out
    assert "| good |" in (tmp_path / "out" / "comparison.md").read_text()


def test_compare_without_a_run_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(tmp_path / "nothing")]) == 2
    assert capsys.readouterr().err.strip() == f"vad compare: {tmp_path / 'nothing'}: there is no such run folder"
