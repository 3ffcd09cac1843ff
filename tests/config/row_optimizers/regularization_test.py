"""Weight decay, l2, clipping and max-norm act on each row as in tf_keras."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt

STEPS = 60

OPTIMIZERS = {
    "SGD": ({"momentum": 0.73, "learning_rate": 0.07}, ["momentums"]),
    "Adagrad": (
        {"learning_rate": 0.31, "initial_accumulator_value": 0.23},
        ["_accumulators"],
    ),
    "Adam": (
        {"learning_rate": 0.021, "beta_1": 0.81, "beta_2": 0.977},
        ["_momentums", "_velocities"],
    ),
    "Ftrl": (
        {
            "learning_rate": 0.13,
            "l1_regularization_strength": 0.17,
            "l2_regularization_strength": 0.29,
        },
        ["_accumulators", "_linears"],
    ),
}


class RowsOfTheirOwn:
    """A Keras variable for each row of a batch: Keras clips by variable."""

    def __init__(self, rows, num_rows, keras, slots, l2, max_norm):
        constraint = None
        if max_norm is not None:
            constraint = tf_keras.constraints.MaxNorm(max_norm, axis=0)
        self.l2 = l2
        self.variables = [
            tf.Variable(row, constraint=constraint) for row in rows[:num_rows]
        ]
        self.keras = keras
        keras.build(self.variables)
        self.kept = [self.variables]
        self.kept += [getattr(keras, slot) for slot in slots]
        self.values = [rows.copy()]
        for slot in self.kept[1:]:
            self.values.append(np.full_like(rows, slot[0].numpy()[0]))

    def step(self, number, ids, gradients):
        for variables, values in zip(self.kept, self.values):
            for variable, one in zip(variables, ids):
                variable.assign(values[one])
        self.keras.iterations.assign(number)
        with tf.GradientTape() as tape:
            loss = tf.add_n(
                [
                    tf.reduce_sum(variable * gradient)
                    for variable, gradient in zip(self.variables, gradients)
                ]
            )
            if self.l2 is not None:
                regularizer = tf_keras.regularizers.L2(self.l2)
                loss += tf.add_n([regularizer(v) for v in self.variables])
        self.keras.apply_gradients(
            zip(tape.gradient(loss, self.variables), self.variables)
        )
        for variables, values in zip(self.kept, self.values):
            for variable, one in zip(variables, ids):
                values[one] = variable.numpy()


def all_but(draw, left_out):
    """Everything at once; Keras takes only one of the clips."""
    drawn = {
        "weight_decay": draw.scale(0.01, 0.5),
        "l2": draw.scale(0.01, 0.5),
        "clipvalue": draw.scale(0.05, 0.5),
        "clipnorm": draw.scale(0.1, 1.0),
        "max_norm": draw.scale(0.3, 1.0),
    }
    del drawn[left_out]
    return drawn


# One class of the core regularizes for every optimizer: all with all at once,
# and each part with one of them.
CASES = [(name, "all") for name in OPTIMIZERS] + [
    ("SGD", "weight_decay"),
    ("Adagrad", "l2"),
    ("Adam", "clipvalue"),
    ("Ftrl", "clipnorm"),
    ("SGD", "max_norm"),
]
OTHER_CASES = [
    pytest.param(name, case, marks=pytest.mark.soak)
    for name in OPTIMIZERS
    for case in ("weight_decay", "l2", "clipvalue", "clipnorm", "max_norm")
    if (name, case) not in CASES
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "case"), CASES + OTHER_CASES)
def test_rows_and_slots_are_those_of_keras(name, case, drawing, stepped_table):
    draw = drawing([*name.encode(), *case.encode()])
    arguments, slots = OPTIMIZERS[name]
    chosen = all_but(draw, ["clipvalue", "clipnorm"][draw.random.integers(2)])
    if case != "all":
        chosen = {case: draw.scale(0.05, 0.5)}
    stepped = stepped_table(
        getattr(mt.optimizers, name)(**arguments, **chosen), draw.random, 4
    )
    l2 = chosen.pop("l2", None)
    max_norm = chosen.pop("max_norm", None)
    keras = getattr(tf_keras.optimizers, name)(**arguments, **chosen)
    oracle = RowsOfTheirOwn(
        stepped.initial_rows, stepped.num_rows, keras, slots, l2, max_norm
    )
    for step, ids, gradients in stepped.steps(STEPS):
        oracle.step(step, ids, gradients)
    np.testing.assert_allclose(
        stepped.whole_rows(),
        np.concatenate(oracle.values, axis=1),
        rtol=1e-5,
        atol=2e-6,
    )


def test_both_clips_are_done():
    table = mt.Table(
        mt.TableConfig(
            "clipped",
            dim=2,
            optimizer=mt.optimizers.SGD(1.0, clipvalue=3.0, clipnorm=1.0),
            initializer=mt.initializers.Zeros(),
        )
    )
    table.apply_gradients([7], [[30.0, -4.0]])
    np.testing.assert_allclose(
        table.lookup([7]), [[-(0.5**0.5), 0.5**0.5]], rtol=1e-6
    )


def test_zero_and_none_are_no_regularization():
    optimizer = mt.optimizers.Adagrad(0.1, weight_decay=0.0, clipnorm=None)
    assert optimizer.regularization == (0.0,) * 5
    assert mt.optimizers.AdamW(0.1).regularization == (0.004, 0, 0, 0, 0)


@pytest.mark.parametrize(
    "field", ["weight_decay", "l2", "clipvalue", "clipnorm", "max_norm"]
)
def test_a_negative_regularization_is_refused(field):
    with pytest.raises(ValueError, match=f"{field} >= 0. Received: {field}=-1"):
        mt.optimizers.SGD(0.1, **{field: -1})
    with pytest.raises(TypeError, match=f"a number for {field}"):
        mt.optimizers.SGD(0.1, **{field: "1"})


def test_statistics_take_no_regularization():
    for cls in (mt.optimizers.MovingAverage, mt.optimizers.BatchSoftmax):
        with pytest.raises(TypeError, match="weight_decay"):
            cls(weight_decay=0.1)
