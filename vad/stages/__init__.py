"""The stages of a run: fit, finish, test. What finishing and testing are depends on the kind of method.

    fit       trains; checkpoints/last.ckpt at the ends of epochs, a killed fit goes on from there

of a detector                                               of a pretext method
    estimate  statistics of the tested checkpoint on            keep      the encoder of the tested checkpoint;
              the training samples; detector.ckpt                         encoder.ckpt
    score     the detector over the videos to score;            measure   tasks and probes on held-out training
              scores.npz                                                  videos; metrics.json
    evaluate  metrics.json from scores.npz and the truth,
              the same way as for anybody else's scores

Every process runs every stage; rank 0 alone writes, and nobody waits for it while it evaluates.
"""

from lightning.pytorch import Trainer

from vad.evaluation import Metrics
from vad.methods.pretext_method import PretextMethod
from vad.runs import RunFolder
from vad.stages import detector, encoder
from vad.stages.detector import estimate, score
from vad.stages.experiment import Experiment, learned, recipe_key
from vad.stages.fitting import fit

__all__ = ["Experiment", "estimate", "finish", "fit", "learned", "recipe_key", "score", "test"]


def finish(experiment: Experiment, folder: RunFolder, trainer: Trainer) -> None:
    """Make of a training what outlives it, `detector.ckpt` or `encoder.ckpt`, from the checkpoint that is tested."""
    if isinstance(experiment.model, PretextMethod):
        encoder.keep(experiment, folder, trainer)
    else:
        estimate(experiment, folder, trainer)


def test(experiment: Experiment, run: RunFolder, target: RunFolder) -> Metrics | None:
    """Measure a finished run, and write what was measured into `target`; ranks other than 0 return `None`."""
    if isinstance(experiment.model, PretextMethod):
        return encoder.test(experiment, run, target)
    return detector.test(experiment, run, target)
