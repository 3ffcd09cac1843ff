"""Initializers: configs, arguments, and pretrained rows from files."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import monolith_tf as mt
from monolith_tf.config import initializers

ALL = [
    initializers.Zeros(),
    initializers.Ones(),
    initializers.Constant(-0.5),
    initializers.RandomUniform(-1.0, 2.0),
    initializers.RandomNormal(1.0, 2.0),
    initializers.TruncatedNormal(1.0, 2.0),
    initializers.VarianceScaling(3.0, "fan_avg", "uniform"),
    initializers.Pretrained([3, -1], [[1.0, 2.0], [3.0, 4.0]]),
]


@pytest.mark.parametrize("initializer", ALL, ids=str)
def test_config_round_trip(initializer):
    config = json.loads(json.dumps(initializer.get_config()))
    again = initializers.from_config(config)
    assert again == initializer
    assert hash(again) == hash(initializer)
    assert again.parameters == initializer.parameters


def test_variance_scaling_passes_the_number_of_its_distribution():
    numbers = [
        initializers.VarianceScaling(2.0, distribution=name).parameters
        for name in ("truncated_normal", "untruncated_normal", "uniform")
    ]
    assert numbers == [(2.0, 0.0), (2.0, 1.0), (2.0, 2.0)]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: initializers.RandomNormal(stddev=0),
            ValueError,
            "RandomNormal needs stddev > 0. Received: stddev=0.",
        ),
        (
            lambda: initializers.TruncatedNormal(stddev=-1.0),
            ValueError,
            "TruncatedNormal needs stddev > 0. Received: stddev=-1.0.",
        ),
        (
            lambda: initializers.RandomNormal(mean="0"),
            TypeError,
            "RandomNormal needs a number for mean. Received: '0' (of type str)",
        ),
        (
            lambda: initializers.VarianceScaling(0.0),
            ValueError,
            "VarianceScaling needs scale > 0. Received: scale=0.0.",
        ),
        (
            lambda: initializers.VarianceScaling(mode="fan"),
            ValueError,
            "one of fan_in, fan_out, fan_avg for mode. Received: mode='fan'.",
        ),
        (
            lambda: initializers.VarianceScaling(distribution="normal"),
            ValueError,
            "needs one of truncated_normal, untruncated_normal, uniform for",
        ),
        (
            lambda: initializers.from_config({"kind": "twos"}),
            ValueError,
            "variance_scaling, pretrained. Received: 'twos'.",
        ),
    ],
)
def test_wrong_arguments(make, error, message):
    with pytest.raises(error, match=re.escape(message)):
        make()


def make_pretrained(ids=(1, 2), rows=((1.0,), (2.0,)), otherwise=None):
    return initializers.Pretrained(np.array(ids), np.array(rows), otherwise)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"ids": [[1], [2]]}, ValueError, "ids of shape (2, 1)"),
        ({"ids": [], "rows": []}, ValueError, "n >= 1"),
        ({"ids": [1.0, 2.0]}, TypeError, "ids of dtype float64"),
        (
            {"ids": np.array([1, 1 << 63], np.uint64)},
            ValueError,
            "id 9223372036854775808. Read them with ids.view(np.int64).",
        ),
        ({"ids": [5, 5]}, ValueError, "id 5 more than once (1 ids"),
        ({"rows": [1.0, 2.0]}, ValueError, "rows of shape (2,) for 2 ids"),
        ({"rows": [[1.0]]}, ValueError, "rows of shape (1, 1) for 2 ids"),
        ({"rows": [[], []]}, ValueError, "dim from 1 to 65536"),
        ({"rows": [[1], [2]]}, TypeError, "rows of dtype int64"),
        ({"rows": [[1.0], [np.nan]]}, ValueError, "rows[1] = [nan]"),
        ({"rows": [[1e39], [0.0]]}, ValueError, "rows[0] = [inf]"),
        ({"otherwise": "zeros"}, TypeError, "mt.initializers for otherwise"),
        (
            {"otherwise": initializers.Pretrained([1], [[1.0]])},
            ValueError,
            "not support another Pretrained",
        ),
    ],
)
def test_wrong_pretrained_rows(arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        make_pretrained(**arguments)


def test_pretrained_rows_are_sorted_copies_that_nobody_can_change():
    ids = np.array([9, -4, 0], np.int32)
    rows = np.array([[9.0, 1.0], [-4.0, 1.0], [0.0, 1.0]])
    initializer = initializers.Pretrained(ids, rows)
    ids[:], rows[:] = 1, 1.0
    assert initializer.ids.dtype == np.int64
    assert initializer.rows.dtype == np.float32
    np.testing.assert_array_equal(initializer.ids, [-4, 0, 9])
    np.testing.assert_array_equal(initializer.rows[:, 0], [-4.0, 0.0, 9.0])
    with pytest.raises(ValueError, match="read-only"):
        initializer.rows[0, 0] = 1.0


def test_pretrained_rows_are_equal_whatever_their_order():
    one = make_pretrained([1, 2], [[1.0], [2.0]])
    assert one == make_pretrained([2, 1], [[2.0], [1.0]])
    assert one != make_pretrained([1, 2], [[1.0], [3.0]])
    assert one != make_pretrained([1, 3], [[1.0], [2.0]])
    assert one != make_pretrained(otherwise=initializers.Zeros())


def test_pretrained_rows_have_the_kind_of_the_others():
    initializer = make_pretrained(otherwise=initializers.Constant(2.0))
    assert initializer.kind == "constant"
    assert initializer.parameters == (2.0,)


def test_rows_of_a_file_are_named_by_path_and_digest(tmp_path):
    path = tmp_path / "rows.npz"
    np.savez(path, ids=np.arange(3), rows=np.eye(3, dtype=np.float32))
    otherwise = initializers.Ones()
    initializer = initializers.Pretrained.from_file(path, otherwise)
    assert initializer == initializers.Pretrained(
        np.arange(3), np.eye(3), otherwise
    )
    config = json.loads(json.dumps(initializer.get_config()))
    assert config["path"] == str(path)
    assert "rows" not in config
    assert initializers.from_config(config) == initializer
    np.savez(path, ids=np.arange(3), rows=2 * np.eye(3, dtype=np.float32))
    with pytest.raises(ValueError, match="are not those of the config"):
        initializers.from_config(config)


def test_a_file_that_holds_something_else_is_refused(tmp_path):
    missing = tmp_path / "missing.npz"
    with pytest.raises(FileNotFoundError):
        initializers.Pretrained.from_file(missing)
    other = tmp_path / "other.npz"
    np.savez(other, ids=np.arange(3))
    array = tmp_path / "array.npy"
    np.save(array, np.arange(3))
    text = tmp_path / "text.npz"
    text.write_text("ids")
    torn = tmp_path / "torn.npz"
    np.savez(torn, ids=np.arange(3), rows=np.eye(3))
    torn.write_bytes(torn.read_bytes()[:200])
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, ids=np.array([{}]), rows=np.eye(1))
    for path in (other, array, text, torn, pickled):
        with pytest.raises(ValueError, match=r"cannot be read .* np\.savez"):
            initializers.Pretrained.from_file(path)


def test_pretrained_rows_of_another_length_do_not_fit():
    initializer = make_pretrained()
    initializer.check_dim(1)
    with pytest.raises(ValueError, match=r"Pass rows \[n, 2\]"):
        initializer.check_dim(2)


def test_they_are_public_names():
    for initializer in ALL:
        name = type(initializer).__name__
        assert getattr(mt.initializers, name) is type(initializer)
