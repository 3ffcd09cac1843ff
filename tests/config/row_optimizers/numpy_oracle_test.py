"""Row optimizers that tf_keras has not, against NumPy in float64.

Hyper-parameters are random. Each oracle is the equation of the paper, on a dict
of arrays for one row.
"""

from __future__ import annotations

import numpy as np
import pytest

import monolith_tf as mt

STEPS = 120
SEEDS = [0, 1, *(pytest.param(n, marks=pytest.mark.soak) for n in range(2, 12))]


class RowWiseAdagrad:
    """Mudigere et al., ISCA 2022: the mean of the squares of a row."""

    @staticmethod
    def draw(draw):
        return {
            "learning_rate": draw.scale(1e-2, 1.0),
            "initial_accumulator_value": draw.scale(1e-3, 2.0),
            "epsilon": draw.scale(1e-6, 0.1),
        }

    def __init__(self, row, arguments):
        self.row = row
        self.rate, start, self.epsilon = arguments.values()
        self.slots = [np.array([start])]

    def step(self, number, g):
        self.slots[0] += np.mean(g**2)
        self.row -= self.rate * g / np.sqrt(self.slots[0] + self.epsilon)


class AdamByRow:
    """Kingma, Ba, ICLR 2015, algorithm 1, with t the steps of the row."""

    cls = mt.optimizers.Adam

    @staticmethod
    def draw(draw):
        return {
            "learning_rate": draw.scale(1e-3, 0.1),
            "beta_1": draw.uniform(0.0, 0.99),
            "beta_2": draw.uniform(0.5, 0.9999),
            "epsilon": draw.scale(1e-4, 0.1),
            "amsgrad": bool(draw.random.integers(0, 2)),
            "per_row_step": True,
        }

    def __init__(self, row, arguments):
        self.row = row
        self.arguments = arguments
        num_moments = 3 if arguments["amsgrad"] else 2
        self.slots = [np.zeros_like(row) for _ in range(num_moments)]
        self.slots.append(np.zeros(1))

    def step(self, number, g):
        rate, beta_1, beta_2, epsilon, amsgrad, _ = self.arguments.values()
        m, v, t = self.slots[0], self.slots[1], self.slots[-1]
        t += 1
        m += (g - m) * (1 - beta_1)
        v += (g**2 - v) * (1 - beta_2)
        if amsgrad:
            v = np.maximum(v, self.slots[2], out=self.slots[2])
        # The reordering of section 2, where epsilon is "epsilon hat".
        alpha = rate * np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        self.row -= alpha * m / (np.sqrt(v) + epsilon)


class GroupLasso:
    """Yue et al., ECML PKDD 2021: argmin z x + x Q x / 2 + penalty."""

    def __init__(self, row, arguments):
        self.row = row
        self.arguments = arguments
        self.slots = [np.full_like(row, arguments["initial_accumulator_value"])]

    @staticmethod
    def draw(draw):
        return {
            "learning_rate": draw.scale(0.05, 1.0),
            "initial_accumulator_value": draw.scale(0.01, 1.0),
            "l1_regularization_strength": draw.scale(1e-3, 1.0),
            "l2_regularization_strength": draw.scale(1e-3, 1.0),
            "l21_regularization_strength": draw.scale(1e-3, 1.0),
        }

    @property
    def strengths(self):
        return [
            self.arguments[f"{name}_regularization_strength"]
            for name in ("l1", "l2", "l21")
        ]

    def minimize(self, z, q):
        l1, l2, l21 = self.strengths
        s = np.clip(z, -l1, l1) - z
        a = q / 2 + l2
        norm = np.sqrt(np.sum(s**2 / a))
        threshold = l21 * np.sqrt(len(s))
        scale = 1 - threshold / norm if norm > threshold else 0.0
        self.row[:] = scale * s / (q + 2 * l2)
        # Not the closed form but what it is for: no other row is better.
        best = self.objective(self.row, z, q)
        random = np.random.default_rng(0)
        for size in (1e-4, 1e-2, 1.0):
            for move in random.normal(size=[20, len(z)]) * size:
                assert self.objective(self.row + move, z, q) >= best
            assert self.objective(self.row * (1 - size), z, q) >= best

    def objective(self, x, z, q):
        l1, l2, l21 = self.strengths
        metric_norm = np.sqrt(np.sum((q / 2 + l2) * x**2))
        return (
            np.sum(z * x)
            + np.sum(q * x**2) / 2
            + l1 * np.sum(np.abs(x))
            + l2 * np.sum(x**2)
            + l21 * np.sqrt(len(x)) * metric_norm
        )


class GroupAdagrad(GroupLasso):
    """Duchi et al., JMLR 12 (2011), equation (4), with that penalty."""

    @staticmethod
    def draw(draw):
        return {**GroupLasso.draw(draw), "epsilon": draw.scale(1e-4, 0.1)}

    def step(self, number, g):
        self.slots[0] += g**2
        q = np.sqrt(self.slots[0] + self.arguments["epsilon"])
        q /= self.arguments["learning_rate"]
        self.minimize(g - q * self.row, q)


class GroupFtrl(GroupLasso):
    """The group Adagrad of Yue et al., which sums z."""

    @staticmethod
    def draw(draw):
        return {**GroupLasso.draw(draw), "beta": draw.scale(0.01, 2.0)}

    def __init__(self, row, arguments):
        super().__init__(row, arguments)
        self.slots.append(np.zeros_like(row))

    def step(self, number, g):
        rate, beta = self.arguments["learning_rate"], self.arguments["beta"]
        n, z = self.slots
        sigma = (np.sqrt(n + g**2) - np.sqrt(n)) / rate
        n += g**2
        z += g - sigma * self.row
        self.minimize(z, (np.sqrt(n) + beta) / rate)


class DelayCompensatedSGD:
    """Zheng et al., ICML 2017, equation (10)."""

    @staticmethod
    def draw(draw):
        return {
            "learning_rate": draw.scale(1e-3, 0.1),
            "variance_control": draw.scale(1e-2, 0.5),
        }

    def __init__(self, row, arguments):
        self.row = row
        self.arguments = arguments
        self.slots = [row.copy()]

    def compensated(self, g):
        backup = self.slots[-1]
        strength = self.arguments["variance_control"]
        g = g + strength * g * g * (self.row - backup)
        backup[:] = self.row
        return g

    def step(self, number, g):
        g = self.compensated(g)
        self.row -= self.arguments["learning_rate"] * g


class DelayCompensatedAdagrad(DelayCompensatedSGD):
    """Duchi et al., JMLR 12 (2011), equation (1), on that gradient."""

    @staticmethod
    def draw(draw):
        return {
            **DelayCompensatedSGD.draw(draw),
            "initial_accumulator_value": draw.scale(1e-3, 2.0),
            "epsilon": draw.scale(1e-6, 0.1),
        }

    def __init__(self, row, arguments):
        super().__init__(row, arguments)
        start = arguments["initial_accumulator_value"]
        self.slots.insert(0, np.full_like(row, start))

    def step(self, number, g):
        g = self.compensated(g)
        self.slots[0] += g**2
        root = np.sqrt(self.slots[0] + self.arguments["epsilon"])
        self.row -= self.arguments["learning_rate"] * g / root


class MovingAverage:
    """row = momentum * row + (1 - momentum) * gradient."""

    @staticmethod
    def draw(draw):
        return {"momentum": draw.uniform()}

    def __init__(self, row, arguments):
        self.row = row
        self.momentum = arguments["momentum"]
        self.slots = []

    def step(self, number, g):
        self.row += (1 - self.momentum) * (g - self.row)


class BatchSoftmax:
    """Yi et al., RecSys 2019, algorithm 2, lines 4 and 5."""

    @staticmethod
    def draw(draw):
        return {"learning_rate": draw.uniform()}

    def __init__(self, row, arguments):
        self.row = row
        self.alpha = arguments["learning_rate"]
        self.slots = [np.zeros(1), np.zeros(1)]

    def step(self, number, g):
        # Steps count from 1 in the table.
        interval = number + 1 - self.slots[1]
        self.row[:] = (1 - self.alpha) * self.row + self.alpha * interval
        self.slots[1][:] = number + 1


ORACLES = [
    RowWiseAdagrad,
    AdamByRow,
    GroupAdagrad,
    GroupFtrl,
    DelayCompensatedSGD,
    DelayCompensatedAdagrad,
    MovingAverage,
    BatchSoftmax,
]


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("oracle", ORACLES, ids=lambda o: o.__name__)
def test_rows_and_slots_are_those_of_the_equation(
    oracle, seed, drawing, stepped_table
):
    draw = drawing([seed, *oracle.__name__.encode()])
    arguments = oracle.draw(draw)
    cls = getattr(oracle, "cls", None) or getattr(
        mt.optimizers, oracle.__name__
    )
    stepped = stepped_table(cls(**arguments), draw.random)
    expected = [
        oracle(row.astype(np.float64), arguments)
        for row in stepped.initial_rows
    ]
    for step, ids, gradients in stepped.steps(STEPS):
        for one, gradient in zip(ids, gradients):
            expected[one].step(step, gradient.astype(np.float64))
    np.testing.assert_allclose(
        stepped.whole_rows(),
        [np.concatenate([one.row, *one.slots]) for one in expected],
        rtol=3e-5,
        atol=1e-5,
        err_msg=str(arguments),
    )


@pytest.mark.parametrize("cls", ["GroupAdagrad", "GroupFtrl"])
def test_a_group_lasso_makes_whole_rows_zero_and_others_not(
    cls, drawing, stepped_table
):
    stepped = stepped_table(
        getattr(mt.optimizers, cls)(0.3, l21_regularization_strength=3.0),
        drawing(1).random,
    )
    seen = set()
    for _ in stepped.steps(40):
        is_zero = stepped.table.lookup(np.arange(16)).numpy() == 0
        for row in is_zero:
            assert row.all() or not row.any()
            seen.add(bool(row.all()))
    assert seen == {True, False}


def test_batch_softmax_estimates_how_rare_an_id_is():
    table = mt.Table(
        mt.TableConfig(
            "intervals",
            dim=1,
            optimizer=mt.optimizers.BatchSoftmax(0.1),
            initializer=mt.initializers.Zeros(),
        )
    )
    for step in range(200):
        ids = [1] + [5] * (step % 5 == 0) + [20] * (step % 20 == 0)
        table.apply_gradients(ids, np.zeros([len(ids), 1], np.float32))
    estimate = table.lookup([1, 5, 20]).numpy()[:, 0]
    np.testing.assert_allclose(estimate[:2], [1, 5], rtol=0.02)
    # Ten occurrences in, it is 1 - 0.9^9 of the way up.
    np.testing.assert_allclose(estimate[2], 20, rtol=0.5)
