"""The scores file: equal bytes for equal scores, and one line of error for whatever else a file may hold."""

import io
import json
import tracemalloc
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from toy_truth import boxed, frame_scores_file, frames_of, header, toy

from vad.errors import ScoresError
from vad.scores import Scores, foreign_scores
from vad.types import Record, ScoredVideo


def object_scores():
    generator = np.random.default_rng(0)
    record = Record(
        (ScoredVideo("é/#=.", "test", 9), ScoredVideo("empty", "test", 4), ScoredVideo("\udc80", "train", 5)),
        np.array([0, 4, 4, 7], dtype=np.int64),
        frame=np.array([0, 3, 3, 8, 0, 1, 4], dtype=np.int32),
        box=np.tile(np.array([[1, 2, 3, 4.5]], dtype=np.float32), (7, 1)),
    )
    heads = {"raw": generator.normal(size=7).astype(np.float32), "motion": generator.random(7).astype(np.float32)}
    known = {h: [{"count": 4, "mean": 0.0, "deviation": 2.0, "minimum": -1.0}] for h in heads}
    return Scores(
        record,
        generator.normal(size=7),
        heads=heads,
        group=np.zeros(7, np.int16),
        header=header(floor=-3.5, statistics=known, chain=[{"fill": {"value": -20}}]),
    )


def snippet_scores():
    record = Record(
        (ScoredVideo("a", "test", 30),),
        np.array([0, 2]),
        first=np.array([0, 16], np.int32),
        end=np.array([16, 32], np.int32),
    )
    return Scores(record, np.array([1.0, -np.inf]), header=header(range="logit"))


def same(a, b):
    arrays = ("frame", "box", "first", "end", "offsets")
    return (
        a.record.videos == b.record.videos
        and all(np.array_equal(getattr(a.record, n), getattr(b.record, n)) for n in arrays)
        and np.array_equal(a.score, b.score)
        and {k: v.tobytes() for k, v in a.heads.items()} == {k: v.tobytes() for k, v in b.heads.items()}
        and np.array_equal(a.group, b.group)
        and a.header == b.header
    )


@pytest.mark.parametrize("make", [object_scores, snippet_scores, lambda: frame_scores_file(toy())])
def test_what_is_written_is_read_back(make, tmp_path):
    make().save(tmp_path / "scores.npz")
    assert same(Scores.load(tmp_path / "scores.npz"), make())


def test_equal_scores_are_equal_bytes_whatever_the_order_of_keys_and_the_memory_layout(tmp_path):
    scores = object_scores()
    scores.save(tmp_path / "a.npz")
    other = replace(
        scores,
        heads=dict(reversed(scores.heads.items())),
        header=dict(reversed(scores.header.items())),
        record=replace(scores.record, box=np.asfortranarray(scores.record.box)),
        score=np.repeat(scores.score, 2)[::2],
    )
    other.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    replace(scores, score=scores.score + 1).save(tmp_path / "c.npz")
    assert (tmp_path / "a.npz").read_bytes() != (tmp_path / "c.npz").read_bytes()


def test_numpy_reads_the_file_without_pickle(tmp_path):
    object_scores().save(tmp_path / "scores.npz")
    with np.load(tmp_path / "scores.npz", allow_pickle=False) as archive:
        assert archive["score"].dtype == np.float64 and archive["head.raw"].dtype == np.float32
        assert archive["group"].dtype == np.int16 and archive["frame"].dtype == np.int32
        assert [v["frames"] for v in json.loads(archive["header"].tobytes())["videos"]] == [9, 4, 5]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: replace(s, score=np.where(np.arange(7) == 5, np.nan, s.score)), "NaN in row 5"),
        (lambda s: replace(s, heads={"raw": np.full(7, np.nan, np.float32)}), "head.raw is NaN"),
        (lambda s: replace(s, score=s.score[:6]), "score has shape"),
        (lambda s: replace(s, group=np.zeros(3, np.int16)), "group has shape"),
        (lambda s: replace(s, record=replace(s.record, offsets=np.array([0, 4, 3, 7]))), "offsets"),
        (lambda s: replace(s, record=replace(s.record, offsets=np.array([0, 7]))), "offsets"),
        (lambda s: replace(s, record=replace(s.record, frame=np.full(7, 9, np.int32))), "outside the video"),
        (lambda s: replace(s, record=replace(s.record, frame=np.full(7, -1, np.int32))), "outside the video"),
        (lambda s: replace(s, record=replace(s.record, box=s.record.box[:, [2, 1, 0, 3]])), "negative size"),
        (lambda s: replace(s, record=replace(s.record, box=s.record.box * np.inf)), "not finite"),
        (lambda s: replace(s, record=replace(s.record, frame=None)), "rows need"),
        (lambda s: replace(s, record=replace(s.record, videos=(s.record.videos[0],) * 3)), "twice"),
        (lambda s: replace(s, header={**s.header, "floor": float("inf")}), "floor must be a finite"),
        (lambda s: replace(s, header={**s.header, "range": "probability"}), "raw or logit"),
        (lambda s: replace(s, header={**s.header, "note": float("nan")}), "JSON"),
        (lambda s: replace(s, header={**s.header, "note": object()}), "JSON"),
    ],
)
def test_what_is_no_score_is_not_written(change, message, tmp_path):
    with pytest.raises(ScoresError, match=message):
        change(object_scores()).save(tmp_path / "scores.npz")
    assert list(tmp_path.glob("*")) == []


def npy(array, **options):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, **options)
    return stream.getvalue()


def archive(path, compression=zipfile.ZIP_STORED, **changes):
    """The object scores as a zip archive with some members replaced (bytes) or left out (None)."""
    object_scores().save(path)
    with zipfile.ZipFile(path) as old:
        members = {info.filename: old.read(info) for info in old.infolist()}
    members |= {f"{name}.npy": content for name, content in changes.items()}
    with zipfile.ZipFile(path, "w", compression) as new:
        for name, content in members.items():
            if content is not None:
                new.writestr(name, content)


class Payload:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_nothing_is_unpickled(tmp_path):
    payload = np.array([Payload(tmp_path / "ran")], dtype=object)
    archive(tmp_path / "scores.npz", score=npy(payload, allow_pickle=True))
    with pytest.raises(ScoresError, match="must be float64"):
        Scores.load(tmp_path / "scores.npz")
    assert not (tmp_path / "ran").exists()


HUGE = npy(np.zeros(7)).replace(b"'shape': (7,), ", b"'shape': (700000000000,), ")[:-56]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"score": None}, "no member score"),
        ({"header": None}, "no member header"),
        ({"score": npy(np.zeros(7, np.float32))}, "must be float64"),
        ({"score": npy(np.zeros((7, 1)))}, "must be float64"),
        ({"box": npy(np.zeros((7, 3), np.float32))}, "must be float32"),
        ({"box": npy(np.asfortranarray(np.zeros((7, 4), np.float32)))}, "C order"),
        ({"score": npy(np.zeros(7)) + b"more"}, "holds 60 bytes"),
        ({"score": npy(np.zeros(7))[:-8]}, "holds 48 bytes"),
        ({"score": b"\x93NUMPY"}, "scores file"),
        ({"score": HUGE}, "claims the shape"),
        ({"other": npy(np.zeros(7))}, "the member 'other.npy'"),
        ({"header": npy(np.frombuffer(b"{]", np.uint8))}, "scores file"),
        ({"header": npy(np.frombuffer(b"\xff\xff", np.uint8))}, "scores file"),
        ({"header": npy(np.frombuffer(b"[" * 100_000, np.uint8))}, "scores file"),
        ({"header": npy(np.frombuffer(b"[]", np.uint8))}, "without a list of videos"),
        ({"header": npy(np.frombuffer(b'{"videos": [{"id": "a"}]}', np.uint8))}, "without id, split and frames"),
        ({"header": npy(np.frombuffer(b'{"videos": [], "floor": NaN}', np.uint8))}, "NaN"),
        ({"header": npy(np.frombuffer(b'{"videos": [], "method": 3}', np.uint8))}, "method is no text"),
        ({"header": npy(np.frombuffer(b'{"videos": []}', np.uint8))}, "offsets"),
    ],
)
def test_what_is_no_scores_file_is_one_line(changes, message, tmp_path):
    archive(tmp_path / "scores.npz", **changes)
    with pytest.raises(ScoresError, match=message) as error:
        Scores.load(tmp_path / "scores.npz")
    assert str(tmp_path / "scores.npz") in str(error.value) and "\n" not in str(error.value)


def test_compressed_members_are_refused(tmp_path):
    archive(tmp_path / "scores.npz", compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ScoresError, match=r"larger than the file|compressed"):
        Scores.load(tmp_path / "scores.npz")


def test_missing_and_empty_files_and_folders_are_one_line(tmp_path):
    (tmp_path / "empty.npz").touch()
    for name in ("none.npz", "empty.npz", "."):
        with pytest.raises(ScoresError, match=str(tmp_path)):
            Scores.load(tmp_path / name)


def test_mutated_files_raise_scores_errors_and_allocate_no_more_than_they_hold(tmp_path):
    """Bytes flipped, cut out, doubled and zeroed, many times over."""
    scores = object_scores()
    rows = 2000
    scores = replace(
        scores,
        record=replace(
            scores.record,
            offsets=np.array([0, rows, rows, rows]),
            frame=np.zeros(rows, np.int32),
            box=np.zeros((rows, 4), np.float32),
        ),
        score=np.zeros(rows),
        heads={},
        group=None,
    )
    path = tmp_path / "scores.npz"
    scores.save(path)
    whole = bytearray(path.read_bytes())
    generator = np.random.default_rng(0)
    loaded, peak = 0, 0
    Scores.load(path)
    tracemalloc.start()
    for _ in range(400):
        content = bytearray(whole)
        at, length = int(generator.integers(len(content))), int(generator.integers(1, 40))
        if generator.random() < 0.5:  # structure, not the long arrays
            at = len(content) - int(generator.integers(1, 900))
        kind = generator.integers(4)
        if kind == 0:
            content[at] ^= 1 << int(generator.integers(8))
        elif kind == 1:
            del content[at : at + length]
        elif kind == 2:
            content[at:at] = content[at : at + length]
        else:
            content[at : at + length] = bytes(len(content[at : at + length]))
        path.write_bytes(content)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        try:
            Scores.load(path)
            loaded += 1
        except ScoresError as error:
            assert "\n" not in str(error)
        peak = max(peak, tracemalloc.get_traced_memory()[1] - before)
    tracemalloc.stop()
    assert loaded < 200  # checksums and checks find most
    assert peak < 2 * len(whole) + 100_000


# ---------------------------------------------------------------------------------------------------- fused anew


def test_heads_are_fused_anew_with_a_floor_that_no_training_sample_lies_below():
    scores = object_scores()
    fused = scores.fused("zscore", weights={"raw": 1.0, "motion": 0.5})
    expected = scores.heads["raw"] / np.float64(2) + 0.5 * scores.heads["motion"] / np.float64(2)
    assert fused.score == pytest.approx(expected) and fused.header["floor"] == -0.75
    assert fused.header["fusion"] == {"kind": "zscore", "weights": {"raw": 1.0, "motion": 0.5}, "clip": None}
    fused.check()


def test_fusing_anew_needs_heads_and_statistics():
    with pytest.raises(ScoresError, match="no heads"):
        frame_scores_file(toy()).fused("mean")
    scores = object_scores()
    with pytest.raises(ScoresError, match="no statistics"):
        replace(scores, header=header(floor=0.0)).fused("mean")
    with pytest.raises(ScoresError, match="count, mean"):
        replace(scores, header=header(statistics={"raw": [{"mean": 1}]})).fused("mean")


# ---------------------------------------------------------------------------------------------------- foreign scores


def foreign(path, **options):
    return foreign_scores(path, toy(), protocol="one_class", **options)


def test_foreign_scores_come_as_a_folder_a_vector_or_a_table(tmp_path):
    scores = frame_scores_file(toy())
    parts = np.split(scores.score, scores.record.offsets[1:-1])
    folder = tmp_path / "folder"
    folder.mkdir()
    from urllib.parse import quote

    lines = ["video,frame,score"]
    for video, part in zip(scores.record.videos, parts, strict=True):
        np.save(folder / f"{quote(video.id, safe='')}.npy", part)
        lines += [f"{video.id},{frame},{value!r}" for frame, value in enumerate(part.tolist())]
    np.save(tmp_path / "vector.npy", scores.score)
    (tmp_path / "table.csv").write_text("\n".join([lines[0], *reversed(lines[1:])]))
    for name in ("folder", "vector.npy", "table.csv"):
        got = foreign(tmp_path / name)
        assert same(got, replace(scores, header=header(method=name.split(".")[0])))


def test_a_vector_may_lie_on_another_grid(tmp_path):
    lengths = [v.frames // 16 * 16 for v in toy().videos("test")]
    np.save(tmp_path / "v.npy", np.arange(sum(lengths), dtype=np.float32))
    assert [v.frames for v in foreign(tmp_path / "v.npy", grid="floor16").record.videos] == lengths
    with pytest.raises(ScoresError, match="another --grid may fit"):
        foreign(tmp_path / "v.npy")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "first line must be"),
        ("video,frame\n", "first line must be"),
        ("video,frame,score\nnobody,0,1\n", "line 2: expected a known video"),
        ("video,frame,score\nt#0=a.b/c,x,1\n", "line 2"),
        ("video,frame,score\nt#0=a.b/c,0,1,2\n", "line 2"),
        ("video,frame,score\nt#0=a.b/c,0,1\nt#0=a.b/c,0,1\n", "lacks the frame 1, or has it twice"),
        ("video,frame,score\nt#0=a.b/c,1,1\n", "lacks the frame 0"),
        ("video,frame,score\nt#0=a.b/c,0,1\n", "lacks the frame 0"),  # of the next video
        ("video,frame,score\n\xff", "t"),
    ],
)
def test_tables_that_do_not_fit_are_refused_with_their_line(text, message, tmp_path):
    (tmp_path / "t.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(ScoresError, match=message):
        foreign(tmp_path / "t.csv")


def test_folders_and_vectors_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ScoresError, match="no such file"):
        foreign(tmp_path / "none")
    with pytest.raises(ScoresError, match="has no t%230"):
        foreign(tmp_path)
    (tmp_path / "scores.txt").touch()
    with pytest.raises(ScoresError, match="expected a folder"):
        foreign(tmp_path / "scores.txt")
    for array, message in (
        (np.array(["a"]), "expected numbers"),
        (np.zeros((3, 3)), "the shape"),
        (np.array(1.0), "the shape"),
        (np.array([{}], dtype=object), "NumPy array"),
    ):
        np.save(tmp_path / "v.npy", array, allow_pickle=True)
        with pytest.raises(ScoresError, match=message):
            foreign(tmp_path / "v.npy")
    record = frames_of(toy())
    np.save(tmp_path / "v.npy", np.full(len(record), np.nan))
    with pytest.raises(ScoresError, match="NaN"):
        foreign(tmp_path / "v.npy")


def test_a_folder_with_a_video_too_many_is_refused(tmp_path):
    from urllib.parse import quote

    for video in toy().videos("test"):
        np.save(tmp_path / f"{quote(video.id, safe='')}.npy", np.zeros(video.frames))
    np.save(tmp_path / "more.npy", np.zeros(3))
    with pytest.raises(ScoresError, match=r"holds more\.npy"):
        foreign(tmp_path)


def test_boxes_without_any_row_are_scores(tmp_path):
    _, scores = boxed()
    empty = replace(
        scores,
        record=replace(
            scores.record, offsets=np.zeros(3, int), frame=np.zeros(0, np.int32), box=np.zeros((0, 4), np.float32)
        ),
        score=np.zeros(0),
    )
    empty.save(tmp_path / "scores.npz")
    assert len(Scores.load(tmp_path / "scores.npz").score) == 0
