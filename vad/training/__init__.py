"""What every training shares: checkpoints and `log.csv`, throughput, randomness, several processes."""

from vad.training.checkpoint import AtomicCheckpointIO, EpochCheckpoint, load_weights_only
from vad.training.randomness import StepSeed
from vad.training.throughput import Throughput

__all__ = ["AtomicCheckpointIO", "EpochCheckpoint", "StepSeed", "Throughput", "load_weights_only"]
