"""`vad fit --config E [options]`: train an experiment; its detector, or its encoder, is what stays."""

from collections.abc import Sequence


def main(arguments: Sequence[str]) -> None:
    """Train from the folder's last checkpoint if there is one; a finished run is left alone."""
    from vad import stages
    from vad.cli.experiment import parse
    from vad.runs import claim

    experiment = parse(arguments)
    folder, decision = claim(experiment.settings)
    if decision.kind == "finished":
        print(f"{folder.path}: is trained already; --fresh trains it anew")
        return
    trainer = stages.fit(experiment, folder)
    stages.finish(experiment, folder, trainer)
    if trainer.is_global_zero:
        print(f"{folder.path}: trained; next:  vad test {folder.path}")
