"""`--benchmark` in each of its forms, and what a wrong one says."""

from pathlib import Path

import pytest
from jsonargparse import ArgumentParser

import vad.benchmarks
from vad.benchmarks import Benchmark, Footage, UCFCrime, UCSDPed2
from vad.cli.benchmark_option import add_benchmark, known_benchmarks, parse_benchmark
from vad.errors import ConfigError


def parse(*arguments: str, required: bool = True) -> Benchmark | None:
    parser = ArgumentParser(exit_on_error=False)
    add_benchmark(parser, required=required)
    parser.add_argument("--grid", default="frames")
    return parse_benchmark(parser, arguments).benchmark


def test_a_bare_name_and_its_arguments_in_any_order(tmp_path: Path) -> None:
    for arguments in (
        ("--benchmark", "UCFCrime", "--benchmark.root", str(tmp_path), "--benchmark.ucf_end", "inclusive"),
        ("--benchmark.ucf_end=inclusive", "--grid", "ceil16", f"--benchmark.root={tmp_path}", "--benchmark=UCFCrime"),
        ("--benchmark", f"{{class_path: UCFCrime, init_args: {{root: {tmp_path}, ucf_end: inclusive}}}}"),
    ):
        benchmark = parse(*arguments)
        assert isinstance(benchmark, UCFCrime)
        assert (benchmark.root, benchmark.ucf_end) == (tmp_path, "inclusive")


def test_a_class_path_is_taken_as_it_is() -> None:
    assert isinstance(parse("--benchmark", "vad.benchmarks.ucsd_ped.UCSDPed2"), UCSDPed2)


def test_a_folder_stands_for_footage(tmp_path: Path) -> None:
    benchmark = parse("--benchmark", str(tmp_path))
    assert isinstance(benchmark, Footage)
    assert benchmark.root == tmp_path


def test_a_name_wins_over_a_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "UCSDPed2").mkdir()
    monkeypatch.chdir(tmp_path)
    assert isinstance(parse("--benchmark", "UCSDPed2"), UCSDPed2)


def test_it_may_be_left_out_where_it_is_not_required() -> None:
    assert parse(required=False) is None


def test_every_exported_benchmark_is_known() -> None:
    assert {"UCSDPed1", "UCSDPed2", "UCFCrime", "XDViolence", "ShanghaiTechWeak"} <= set(known_benchmarks())
    assert set(known_benchmarks()) <= set(vad.benchmarks.__all__)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--benchmark", "UCSDPed3"), "no benchmark 'UCSDPed3' (did you mean 'UCSDPed2'?); known: "),
        (("--benchmark", "Benchmark"), "no benchmark 'Benchmark'; known: "),
        (("--benchmark", "no/such/folder"), "--benchmark: there is no folder no/such/folder"),
        (("--benchmark",), "--benchmark: give one of "),
        ((), "--benchmark: give one of "),
        (("--benchmark", "--grid", "frames"), "--benchmark: give one of "),
        (
            ("--benchmark", "{class_path:UCFCrime}"),
            "expected {class_path: NAME, init_args: {...}}, got '{class_path:UCF",
        ),
        (("--benchmark", "{class_path: UCFCrime, root: x}"), "expected {class_path: NAME"),
        (("--benchmark", "UCFCrime", "--benchmark.rot", "x"), "UCFCrime takes no 'rot' (did you mean 'root'?)"),
        (
            ("--benchmark", "UCFCrime", "--benchmark.ucf_end", "both"),
            "expected one of 'exclusive', 'inclusive', got both",
        ),
        (("--benchmark", "vad.benchmarks.Nothing"), "no such class"),
        (("--benchmark", "vad.types.Video"), "does not correspond to a subclass of Benchmark"),
        (("--benchmark", "UCFCrime", "--girds", "x"), "--girds"),
    ],
)
def test_a_mistake_is_one_line(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(*arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
