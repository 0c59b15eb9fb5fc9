"""`vad extract packs`: import vectors of snippets that others computed, from the files that they share."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import ArgumentParser

from vad.cli.benchmark_option import add_benchmark, parse_benchmark

if TYPE_CHECKING:
    from vad.extract.launch import Summary
    from vad.extract.pack_layout import Pack
    from vad.extract.packs import PackRecipe


Lengths = Literal["check", "trust"]


def main(arguments: Sequence[str]) -> None:
    """Say what was found, then import it."""
    from vad.cli.extract import Bars
    from vad.extract.launch import OnBroken
    from vad.extract.pack_layout import SEGMENTS, Layout, find
    from vad.extract.packs import PackRecipe, import_pack
    from vad.types import Split

    parser = ArgumentParser(
        prog="vad extract packs",
        description="Import features that others computed: .npy files, or text files of UCF-Crime's authors.",
        exit_on_error=False,
    )
    add_benchmark(parser)
    parser.add_argument("--source", type=str, nargs="+", required=True, help="Folders of the pack, at any depth.")
    parser.add_argument("--name", type=str, required=True, help="What the pack is called, such as i3d or clip.")
    parser.add_argument("--splits", type=Split, nargs="+", default=None, help="Splits; all of them by default.")
    parser.add_argument(
        "--layout",
        type=Layout | None,
        default=None,
        help="Axes of the arrays before the vectors; found over all files where they do not leave it open. "
        "segments32: 32 rows of equal shares of a video.",
    )
    parser.add_argument("--snippet", type=int, default=16, help="Frames that a row covers.")
    parser.add_argument("--dim", type=int | None, default=None, help="The width that vectors must have.")
    parser.add_argument(
        "--lengths",
        type=Lengths,
        default="check",
        help="check: rows must fit the known lengths of videos; trust: take any number of rows.",
    )
    parser.add_argument(
        "--on_broken", type=OnBroken, default="stop", help="What becomes of videos with missing or broken files."
    )
    parser.add_argument("--json", action="store_true", help="Print what was found and done as JSON.")
    options = parse_benchmark(parser, arguments)
    pack = find(
        options.benchmark,
        [Path(source) for source in options.source],
        splits=options.splits,
        layout=options.layout,
        snippet=options.snippet,
        trust_lengths=options.lengths == "trust",
        skip_broken=options.on_broken == "skip",
    )
    recipe = PackRecipe(
        name=options.name,
        dim=options.dim or pack.dim,
        snippet=options.snippet,
        segments=SEGMENTS if pack.layout == "segments32" else None,
    )
    if not options.json:
        print("\n".join(pack.words), flush=True)
    with Bars() as bars:
        summary = import_pack(pack, recipe, options.benchmark, on_broken=options.on_broken, progress=bars.show)
    if options.json:
        print(json.dumps(report(pack, recipe, summary), indent=2, ensure_ascii=False))
        return
    skipped = f", {len(summary.skipped):,} skipped" if summary.skipped else ""
    print(
        f"{options.benchmark.dataset}/{recipe.key}: {summary.computed:,} videos imported, {summary.present:,} there "
        f"already{skipped}"
    )
    for video, reason in summary.skipped:
        print(f"  skipped {video}: {reason}")
    print(f"in an experiment:  features: [{setting(recipe)}]")


def setting(recipe: "PackRecipe") -> str:
    """How an experiment file names the features."""
    given = {"name": recipe.name, "dim": recipe.dim}
    given |= {"snippet": recipe.snippet} if recipe.snippet != 16 else {}
    given |= {"segments": recipe.segments} if recipe.segments is not None else {}
    arguments = ", ".join(f"{name}: {value}" for name, value in given.items())
    return f"{{class_path: vad.extract.packs.PackRecipe, init_args: {{{arguments}}}}}"


def report(pack: "Pack", recipe: "PackRecipe", summary: "Summary") -> dict[str, Any]:
    """What was found and done, as JSON values."""
    return {
        "recipe": recipe.key,
        "layout": pack.layout,
        "crops": dict(pack.crops),
        "dim": pack.dim,
        "norm_left_out": pack.has_norm,
        "videos": len(pack.videos),
        "files": sum(len(packed.files) for packed in pack.videos),
        "unknown": [path.name for path in pack.unknown],
        "imported": summary.computed,
        "present": summary.present,
        "skipped": dict(summary.skipped),
        "found": list(pack.words),
    }
