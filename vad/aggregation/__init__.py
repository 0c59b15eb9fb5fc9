"""How do scores of objects or snippets become scores of frames? Pure functions, and the steps of published chains.

columns -- fuse --> score of each row -- frame_scores --> scores of frames
                                      -- apply_chain  --> the same, as a paper does it (a list of steps)
"""

from vad.aggregation.chain import STEPS, apply_chain, check_chain, leaks
from vad.aggregation.frames import frame_scores, smooth
from vad.aggregation.fusion import Fusion, HeadStatistics, Statistics, fuse, lowest

__all__ = [
    "STEPS",
    "Fusion",
    "HeadStatistics",
    "Statistics",
    "apply_chain",
    "check_chain",
    "frame_scores",
    "fuse",
    "leaks",
    "lowest",
    "smooth",
]
