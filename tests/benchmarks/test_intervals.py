"""Published intervals become labels of frames."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from vad.benchmarks.intervals import labels_from_intervals, read_matlab_cells, read_matlab_list
from vad.errors import DataError


def test_intervals_are_half_open_and_cut_at_the_end_of_the_video() -> None:
    np.testing.assert_array_equal(labels_from_intervals([(1, 3), (5, 9)], 7), [0, 1, 1, 0, 0, 1, 1])
    assert labels_from_intervals([(9, 12)], 7).sum() == 0


def test_matlab_ranges_count_from_1_and_include_both_ends(tmp_path: Path) -> None:
    path = tmp_path / "UCSDped1.m"
    path.write_text(
        "TestVideoFile = {};\nTestVideoFile{end+1}.gt_frame = [61:180];\r\n"
        "TestVideoFile{end+1}.gt_frame = [5:90, 140:200]; % two\n% TestVideoFile{end+1}.gt_frame = [1:2];\n"
        "TestVideoFile{end+1}.gt_frame = [7];"
    )
    assert read_matlab_list(path) == [[(60, 180)], [(4, 90), (139, 200)], [(6, 7)]]


@pytest.mark.parametrize("ranges", ["a:b", "90:5", "0:5", "5:90:2", ""])
def test_what_is_no_range_is_an_error_that_names_the_line(tmp_path: Path, ranges: str) -> None:
    path = tmp_path / "UCSDped2.m"
    path.write_text(f"TestVideoFile = {{}};\nTestVideoFile{{end+1}}.gt_frame = [{ranges}];\n")
    with pytest.raises(DataError, match=r"UCSDped2\.m, line 2"):
        read_matlab_list(path)


def cells(*matrices: list[list[int]]) -> np.ndarray:
    array = np.empty((1, len(matrices)), object)
    for index, matrix in enumerate(matrices):
        array[0, index] = np.array(matrix, np.uint8)
    return array


def test_cells_of_one_and_of_two_intervals_are_read_alike(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"gt": cells([[61], [180]], [[5, 140], [90, 200]])})
    assert read_matlab_cells(tmp_path / "a.mat") == [[(60, 180)], [(4, 90), (139, 200)]]


def test_files_that_were_squeezed_and_saved_again_are_read_as_well(tmp_path: Path) -> None:
    vectors = np.empty(2, object)
    vectors[:] = [np.array([61, 180]), np.array([[5, 140], [90, 200]])]
    savemat(tmp_path / "vectors.mat", {"gt": vectors})
    assert read_matlab_cells(tmp_path / "vectors.mat") == [[(60, 180)], [(4, 90), (139, 200)]]
    savemat(tmp_path / "matrix.mat", {"gt": np.array([[61, 180], [95, 180], [1, 146]], np.uint8)})
    assert read_matlab_cells(tmp_path / "matrix.mat") == [[(60, 180)], [(94, 180)], [(0, 146)]]


def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "ped2.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    with pytest.raises(DataError, match=r"ped2\.mat"):
        read_matlab_cells(tmp_path / "ped2.mat")
    savemat(tmp_path / "other.mat", {"labels": np.zeros(3)})
    with pytest.raises(DataError, match=r"other\.mat: there is no variable 'gt'"):
        read_matlab_cells(tmp_path / "other.mat")
    savemat(tmp_path / "three.mat", {"gt": cells([[1], [2], [3]])})
    with pytest.raises(DataError, match="clip 1 is no matrix of 2 rows"):
        read_matlab_cells(tmp_path / "three.mat")
