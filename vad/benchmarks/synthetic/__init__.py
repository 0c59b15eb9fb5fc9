"""`Synthetic`: rendered footage of people in four places, with exact truth, for tests, demos and first experiments."""

from vad.benchmarks.synthetic.events import KINDS
from vad.benchmarks.synthetic.synthetic import Synthetic

__all__ = ["KINDS", "Synthetic"]
