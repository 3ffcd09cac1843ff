"""Rows move as tf_keras moves them, at random hyper-parameters."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt

STEPS = 120
SEEDS = [0, 1, *(pytest.param(n, marks=pytest.mark.soak) for n in range(2, 12))]


def sgd(draw):
    momentum = draw.uniform() * int(draw.random.integers(0, 3) > 0)
    nesterov = bool(draw.random.integers(0, 2))
    return ["momentums"] * (momentum > 0), {
        "learning_rate": draw.scale(1e-3, 0.3),
        "momentum": momentum,
        "nesterov": nesterov,
    }


def adagrad(draw):
    return ["_accumulators"], {
        "learning_rate": draw.scale(1e-2, 1.0),
        "initial_accumulator_value": draw.scale(1e-3, 2.0),
        "epsilon": draw.scale(1e-6, 0.1),
    }


def adadelta(draw):
    return ["_accumulated_grads", "_accumulated_delta_vars"], {
        "learning_rate": draw.scale(0.1, 1.0),
        "rho": draw.uniform(0.5, 1.0),
        "epsilon": draw.scale(1e-5, 0.1),
    }


def rmsprop(draw):
    momentum = draw.uniform() * int(draw.random.integers(0, 2))
    centered = bool(draw.random.integers(0, 2))
    slots = ["_velocities"]
    slots += ["_momentums"] * (momentum > 0) + ["_average_gradients"] * centered
    return slots, {
        "learning_rate": draw.scale(1e-3, 0.05),
        "rho": draw.uniform(0.5, 1.0),
        "momentum": momentum,
        # With a small one the centered variance is what rounding left of it.
        "epsilon": draw.scale(1e-3, 0.1),
        "centered": centered,
    }


def adam(draw):
    amsgrad = bool(draw.random.integers(0, 2))
    slots = ["_momentums", "_velocities"] + ["_velocity_hats"] * amsgrad
    return slots, {
        "learning_rate": draw.scale(1e-3, 0.1),
        "beta_1": draw.uniform(0.0, 0.99),
        "beta_2": draw.uniform(0.5, 0.9999),
        "epsilon": draw.scale(1e-6, 0.1),
        "amsgrad": amsgrad,
    }


def adamw(draw):
    slots, arguments = adam(draw)
    return slots, {**arguments, "weight_decay": draw.scale(1e-3, 1.0)}


def ftrl(draw):
    power = draw.uniform(-1.0, 0.0) if draw.random.integers(0, 2) else -0.5
    return ["_accumulators", "_linears"], {
        "learning_rate": draw.scale(0.02, 0.5),
        "learning_rate_power": power,
        "initial_accumulator_value": draw.scale(0.01, 1.0),
        "l1_regularization_strength": draw.scale(0.01, 3.0),
        "l2_regularization_strength": draw.scale(0.01, 3.0),
        "l2_shrinkage_regularization_strength": draw.scale(1e-3, 0.1),
        "beta": draw.scale(0.01, 2.0),
    }


FAMILIES = {
    "SGD": sgd,
    "Adagrad": adagrad,
    "Adadelta": adadelta,
    "RMSprop": rmsprop,
    "Adam": adam,
    "AdamW": adamw,
    "Ftrl": ftrl,
}


class GatheredRows:
    """All rows and slots in NumPy; Keras steps those of a batch."""

    def __init__(self, rows, keras, slots, num_rows):
        self.variable = tf.Variable(rows[:num_rows])
        self.keras = keras
        keras.build([self.variable])
        self.of_keras = [getattr(keras, slot)[0] for slot in slots]
        self.values = [rows.copy()]
        for slot in self.of_keras:
            # A slot starts the same everywhere.
            self.values.append(np.full_like(rows, slot.numpy()[0, 0]))

    def step(self, number, ids, gradients):
        kept = [self.variable, *self.of_keras]
        for variable, values in zip(kept, self.values):
            variable.assign(values[ids])
        self.keras.iterations.assign(number)
        gradients = tf.constant(gradients)
        self.keras.apply_gradients([(gradients, self.variable)])
        for variable, values in zip(kept, self.values):
            values[ids] = variable.numpy()


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", list(FAMILIES))
def test_rows_and_slots_are_those_of_keras(name, seed, drawing, stepped_table):
    draw = drawing([seed, *name.encode()])
    slots, arguments = FAMILIES[name](draw)
    stepped = stepped_table(
        getattr(mt.optimizers, name)(**arguments), draw.random
    )
    oracle = GatheredRows(
        stepped.initial_rows,
        getattr(tf_keras.optimizers, name)(**arguments),
        slots,
        stepped.num_rows,
    )
    for step, ids, gradients in stepped.steps(STEPS):
        oracle.step(step, ids, gradients)
    rows = stepped.whole_rows()
    parts = np.split(rows, len(oracle.values), axis=1)
    for part, expected in zip(parts, oracle.values, strict=True):
        assert np.isfinite(expected).all()
        # Sums that cancel are as exact as what they are sums of.
        np.testing.assert_allclose(
            part,
            expected,
            rtol=2e-6,
            atol=2e-6 * np.abs(expected).mean(),
            err_msg=str(arguments),
        )
