"""The scores file: `scores.npz`, no pickle, equal for equal scores. What a method scored is the record.

Members: `header` (UTF-8 JSON as uint8), `offsets` int64 (v + 1,), `score` float64 (m,), `head.<name>` float32 (m,),
where there are several models `group` int16 (m,); for objects `frame` int32 (m,) and `box` float32 (m, 4), for snippets
`first` and `end` int32 (m,), for frames `frame` int32 (m,).
"""

from vad.scores.foreign import foreign_scores
from vad.scores.scores import Scores

__all__ = ["Scores", "foreign_scores"]
