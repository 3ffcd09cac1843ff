"""Tests of the columns that every data source gives."""

import numpy as np
import pytest

from monolith_tf import data


def columns() -> dict[str, np.ndarray]:
    return {
        "user_id": np.array([1, 2, 3]),
        "movie_id": np.array([4, 5, 6]),
        "genres": np.array([[7, 0], [8, 9], [0, 0]]),
        "label": np.array([0, 1, 1], np.float32),
        "timestamp": np.array([10, 10, 11]),
    }


def test_a_slice_keeps_columns_together():
    part = data.Ratings(**columns())[1:]
    assert len(part) == 2
    np.testing.assert_array_equal(part.user_id, [2, 3])
    np.testing.assert_array_equal(part.genres, [[8, 9], [0, 0]])
    np.testing.assert_array_equal(part.timestamp, [10, 11])


def test_features_hold_neither_label_nor_time():
    features = data.Ratings(**columns()).features()
    assert sorted(features) == ["genres", "movie_id", "user_id"]


@pytest.mark.parametrize("index", [1, slice(None, None, 2), [0, 1]])
def test_what_is_not_a_run_of_ratings_is_refused(index):
    with pytest.raises(TypeError, match="slice of consecutive ratings"):
        data.Ratings(**columns())[index]


@pytest.mark.parametrize(
    ("name", "column", "message"),
    [
        (
            "user_id",
            np.zeros(3),
            "user_id must be int64 of rank 1. Received: float",
        ),
        ("genres", np.zeros(3, np.int64), "genres must be int64 of rank 2"),
        (
            "label",
            np.zeros(2, np.float32),
            "label must have one .* Received: 2 entries",
        ),
        ("timestamp", np.array([3, 2, 4]), "timestamp decreases at entry 1"),
    ],
)
def test_columns_that_do_not_fit_are_refused(name, column, message):
    with pytest.raises(ValueError, match=message):
        data.Ratings(**{**columns(), name: column})
