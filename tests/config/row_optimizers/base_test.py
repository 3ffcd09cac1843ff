"""Descriptions of row optimizers, and arguments that they reject."""

from __future__ import annotations

import numpy as np
import pytest

import monolith_tf as mt
from monolith_tf.checkpoint.table_rows import export_rows
from monolith_tf.config import row_optimizers

VARIANTS = [
    *(cls() for cls in row_optimizers.KINDS),
    mt.optimizers.SGD(momentum=0.5, nesterov=True),
    mt.optimizers.RMSprop(momentum=0.5),
    mt.optimizers.RMSprop(centered=True),
    mt.optimizers.RMSprop(momentum=0.5, centered=True),
    mt.optimizers.Adam(amsgrad=True),
    mt.optimizers.Adam(per_row_step=True),
    mt.optimizers.AdamW(amsgrad=True, per_row_step=True, clipnorm=0.5),
]


@pytest.mark.parametrize("dim", [1, 6])
@pytest.mark.parametrize("optimizer", VARIANTS, ids=repr)
def test_the_core_has_as_many_slot_floats_as_python_says(optimizer, dim):
    config = mt.TableConfig("width", dim=dim, optimizer=optimizer)
    table = mt.Table(config)
    table.apply_gradients([3], np.ones([1, dim], np.float32))
    ((_, _, rows),) = export_rows(table)
    assert rows.shape == (1, dim + optimizer.slot_floats(dim))
    assert config.row_width == rows.shape[1]
    assert np.isfinite(rows).all()


@pytest.mark.parametrize("optimizer", VARIANTS, ids=repr)
def test_a_config_round_trips(optimizer):
    again = row_optimizers.from_config(optimizer.get_config())
    assert again == optimizer
    assert type(again) is type(optimizer)


def test_an_unknown_kind_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="sgd, adagrad, .*Received: 'lamb'"):
        row_optimizers.from_config({"kind": "lamb"})


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("SGD", {"momentum": 1.5}, "0 <= momentum <= 1"),
        ("RowWiseAdagrad", {"epsilon": -1.0}, "epsilon >= 0"),
        ("Adadelta", {"rho": 1.0}, "0 <= rho < 1"),
        ("Adadelta", {"epsilon": 0.0}, "epsilon > 0"),
        ("RMSprop", {"momentum": -0.1}, "0 <= momentum <= 1"),
        ("AdamW", {"beta_2": 1.0}, "0 <= beta_2 < 1"),
        ("Ftrl", {"learning_rate_power": 0.5}, "learning_rate_power <= 0"),
        ("Ftrl", {"l1_regularization_strength": -1}, "l1_regul.* >= 0"),
        ("GroupAdagrad", {"l21_regularization_strength": -1}, "l21_.* >= 0"),
        ("GroupFtrl", {"beta": float("nan")}, "finite beta"),
        ("DelayCompensatedSGD", {"variance_control": -1}, "control >= 0"),
        (
            "DelayCompensatedAdagrad",
            {"initial_accumulator_value": 0, "epsilon": 0},
            "divides by zero",
        ),
        ("MovingAverage", {"momentum": 2}, "0 <= momentum <= 1"),
        ("BatchSoftmax", {"learning_rate": 1.5}, "learning_rate <= 1"),
    ],
)
def test_bad_numbers_say_what_is_wrong(name, change, message):
    with pytest.raises(ValueError, match=f"{name} needs.*{message}"):
        getattr(mt.optimizers, name)(**change)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("SGD", "nesterov"),
        ("RMSprop", "centered"),
        ("Adam", "amsgrad"),
        ("Adam", "per_row_step"),
    ],
)
def test_flags_are_bools(name, field):
    with pytest.raises(TypeError, match=f"True or False for {field}"):
        getattr(mt.optimizers, name)(**{field: 1})


@pytest.mark.parametrize(
    "optimizer",
    [
        mt.optimizers.Ftrl(0.0),
        mt.optimizers.GroupFtrl(0.0, beta=1.0),
        mt.optimizers.GroupAdagrad(0.0),
    ],
    ids=repr,
)
def test_a_learning_rate_of_zero_changes_nothing(optimizer):
    table = mt.Table(mt.TableConfig("still", dim=2, optimizer=optimizer))
    before = table.lookup([1])
    table.apply_gradients([1], [[1.0, -2.0]])
    np.testing.assert_array_equal(table.lookup([1]), before)
