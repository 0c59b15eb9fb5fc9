"""`vad extract features`: the features of some splits of a benchmark."""

from collections.abc import Sequence

from vad.cli.extract import carry_out, launch_options


def main(arguments: Sequence[str]) -> None:
    """Compute features with an encoder."""
    processes, device, on_broken, rest = launch_options(arguments)
    import jsonargparse

    from vad.cli.benchmark_option import add_benchmark, parse_benchmark
    from vad.extract.encoders import Encoder
    from vad.extract.features import FeatureRecipe
    from vad.types import Split

    parser = jsonargparse.ArgumentParser(
        prog="vad extract features",
        description="Vectors of an encoder for the snippets of every video, into the cache.",
        exit_on_error=False,
    )
    add_benchmark(parser)
    parser.add_argument("--splits", type=Split, nargs="+", default=None, help="Splits; all of them by default.")
    parser.add_subclass_arguments(Encoder, "encoder", required=True, help="An encoder, such as EfficientNetLite0.")
    parser.add_class_arguments(FeatureRecipe, skip={"encoder"})
    options = parse_benchmark(parser, rest)
    fields = {name: options[name] for name in FeatureRecipe.__dataclass_fields__ if name in options}
    splits = options.splits or list(options.benchmark.splits)
    videos = {video.id: video for split in splits for video in options.benchmark.sources(split)}
    carry_out([FeatureRecipe(**fields)], options.benchmark, list(videos.values()), processes, device, on_broken)
