"""`vad evaluate`: what is printed and written, and what its refusals look like."""

import json

import numpy as np
import pytest
from toy_truth import ToyOfSix, frame_scores_file, toy

from vad.cli.evaluate import head_weights
from vad.cli.main import main
from vad.errors import ConfigError
from vad.evaluation import Metrics, evaluate

CHAIN = [{"moving_average": {"taps": 10, "padding": "zero", "across_clips": True}}]
BENCHMARK = ["--benchmark", "toy_truth.ToyOfSix"]


@pytest.fixture
def scores(tmp_path):
    made = frame_scores_file(toy(), chain=CHAIN)
    made = type(made)(made.record, made.score, header={**made.header, "benchmark": "ToyOfSix"})
    made.save(tmp_path / "scores.npz")
    return made


def test_the_table_has_the_headline_first_with_its_interval_and_says_what_leaks(scores, tmp_path, capsys):
    assert main(["evaluate", str(tmp_path / "scores.npz"), *BENCHMARK, "--draws", "50"]) == 0
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if "micro_auroc" in line]
    value = evaluate(scores, ToyOfSix(), draws=50).metrics["micro_auroc_smoothed"]
    assert "micro_auroc_smoothed" in lines[0] and f"{value.value:.4f}" in lines[0] and f"{value.low:.3f}" in lines[0]
    assert "0.5000" in lines[0]
    assert "it leaks: moving_average: future frames" in out and "single class videos 3" in out


def test_json_and_out_hold_what_evaluate_gives(scores, tmp_path, capsys):
    out = tmp_path / "deep" / "metrics.json"
    arguments = ["evaluate", str(tmp_path / "scores.npz"), *BENCHMARK, "--draws", "20", "--grid", "floor16"]
    assert main([*arguments, "--json", "--out", str(out)]) == 0
    expected = evaluate(scores, ToyOfSix(), draws=20, grid="floor16")
    assert Metrics.from_json(json.loads(capsys.readouterr().out)) == expected
    assert Metrics.from_json(json.loads(out.read_text())) == expected


def test_scores_of_other_programs_need_a_protocol(scores, tmp_path, capsys):
    np.save(tmp_path / "mine.npy", scores.score)
    assert main(["evaluate", str(tmp_path / "mine.npy"), *BENCHMARK]) == 2
    assert "give --protocol" in capsys.readouterr().err
    arguments = [
        "evaluate",
        str(tmp_path / "mine.npy"),
        *BENCHMARK,
        "--protocol",
        "one_class",
        "--draws",
        "0",
        "--json",
    ]
    assert main(arguments) == 0
    got = json.loads(capsys.readouterr().out)
    assert got["method"] == "mine"
    assert got["metrics"]["micro_auroc"]["value"] == evaluate(scores, ToyOfSix(), draws=0).metrics["micro_auroc"].value


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.npz", *BENCHMARK], "none.npz: no such file"),
        (["scores.npz", "--benchmark", "UCSDPed9"], "there is no benchmark 'UCSDPed9'"),
        (["scores.npz", *BENCHMARK, "--grid", "round"], "round"),
        (["scores.npz", *BENCHMARK, "--draws", "-1"], "--draws"),
        (["scores.npz", *BENCHMARK, "--clip", "0"], "belong to --fusion"),
        (["scores.npz", *BENCHMARK, "--fusion", "mean"], "no heads to fuse"),
    ],
)
def test_what_is_wrong_is_one_line(scores, words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_weights_are_heads_and_numbers():
    assert head_weights("raw=0.5, motion=1") == {"raw": 0.5, "motion": 1.0}
    for text in ("raw", "raw=", "=1", "raw=x", "raw=nan", ""):
        with pytest.raises(ConfigError, match="HEAD=NUMBER"):
            head_weights(text)


def test_scores_of_one_protocol_are_not_evaluated_as_another(scores, tmp_path, capsys):
    assert main(["evaluate", str(tmp_path / "scores.npz"), *BENCHMARK, "--protocol", "weak"]) == 2
    assert f"--protocol: these are scores of {scores.header['protocol']}, not of weak" in capsys.readouterr().err
