"""Configs take NumPy's numbers, and refuse those that float32 can't hold."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import monolith_tf as mt

HALF = [np.float16(0.5), np.float32(0.5), np.float64(0.5), np.longdouble(0.5)]
ONE = [np.int8(1), np.int64(1), np.uint64(1)]


def all_of(half, one, true):
    """Every kind of number that a config takes."""
    opt, init = mt.optimizers, mt.initializers
    return mt.TableConfig(
        "numbers",
        seed=one,
        segments=[
            mt.Segment(one, opt.Adam(half, beta_1=half, amsgrad=true)),
            mt.Segment(one, opt.AdamW(one, weight_decay=half, clipnorm=one)),
            mt.Segment(one, opt.SGD(half, momentum=half, nesterov=true)),
            mt.Segment(one, opt.BatchSoftmax(half), init.Constant(half)),
            mt.Segment(one, opt.RMSprop(centered=true), init.RandomNormal(one)),
            mt.Segment(
                one,
                opt.Ftrl(learning_rate_power=-half),
                init.RandomUniform(half, one),
                mt.precisions.Int8(half),
            ),
            mt.Segment(
                one,
                initializer=init.VarianceScaling(half),
                precision=mt.precisions.OneBit(half, one),
            ),
        ],
        admission=mt.Admission(min_count=one, probability=half),
        eviction=mt.Eviction(ttl_seconds=one),
        tracks_changes=true,
        initial_capacity=one,
    )


@pytest.mark.parametrize("half", HALF, ids=lambda n: type(n).__name__)
@pytest.mark.parametrize("one", ONE, ids=lambda n: type(n).__name__)
def test_numbers_of_numpy_are_those_of_python(half, one):
    config, expected = all_of(half, one, np.bool_(True)), all_of(0.5, 1, True)
    assert config.same_as(expected)
    text = json.dumps(config.get_config())
    assert text == json.dumps(expected.get_config())
    assert mt.TableConfig.from_config(json.loads(text)).same_as(config)
    mt.Table(config).apply_gradients([1], np.ones([1, 7]))


@pytest.mark.parametrize("value", [np.bool_(True), True, "0.1", None, 1j])
def test_what_is_no_number_is_refused(value):
    for make in (
        lambda: mt.optimizers.SGD(value),
        lambda: mt.optimizers.Adam(epsilon=value),
        lambda: mt.initializers.Constant(value),
        lambda: mt.precisions.Int8(value),
    ):
        with pytest.raises(TypeError, match="needs a number"):
            make()


@pytest.mark.parametrize("value", [np.bool_(True), np.float32(1), "1"])
def test_what_is_no_integer_is_refused(value):
    for make in (
        lambda: mt.Admission(min_count=value),
        lambda: mt.TableConfig("user", dim=value),
        lambda: mt.precisions.OneBit(0.5, anneal_steps=value),
        lambda: mt.FeatureConfig(
            "user",
            mt.TableConfig("user", dim=1),
            combiner="first_n",
            max_sequence_length=value,
        ),
        lambda: mt.FeatureConfig(
            "user", mt.TableConfig("user", 1), min_count=value
        ),
    ):
        with pytest.raises(TypeError, match=r"\bint"):
            make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: mt.optimizers.Adam(beta_2=0.99999999),
            "Adam needs 0 <= beta_2 < 1 in float32, the dtype of tables, "
            "which has about 7 digits. Received: beta_2=0.99999999, "
            "in float32 1.",
        ),
        (
            lambda: mt.optimizers.Adam(epsilon=1e-50),
            "Adam needs epsilon > 0 in float32, the dtype of tables, "
            "which ranges from 1.18e-38 to 3.4e+38. Received: epsilon=1e-50, "
            "in float32 0.",
        ),
        (
            lambda: mt.optimizers.Adam(epsilon=1e-40),
            "epsilon=1e-40, in float32 0.",
        ),
        (
            lambda: mt.Admission(probability=1e-50),
            "Admission needs 0 < probability <= 1 in float32, the dtype of "
            "tables, which ranges from 1.18e-38 to 3.4e+38. Received: "
            "probability=1e-50, in float32 0.",
        ),
        (
            lambda: mt.optimizers.SGD(momentum=1e-50),
            "momentum=1e-50, in float32 0.",
        ),
        (
            lambda: mt.optimizers.SGD(clipnorm=1e-50),
            "clipnorm=1e-50, in float32 0.",
        ),
        (
            lambda: mt.optimizers.Adagrad(initial_accumulator_value=1e39),
            "initial_accumulator_value=1e+39, in float32 inf.",
        ),
        (
            lambda: mt.optimizers.SGD(10**400),
            "SGD needs learning_rate >= 0 in float32",
        ),
        (
            lambda: mt.initializers.Constant(-1e39),
            "Constant needs a finite value in float32, the dtype of tables, "
            "which ranges from 1.18e-38 to 3.4e+38. Received: value=-1e+39, "
            "in float32 -inf.",
        ),
        (
            lambda: mt.initializers.RandomNormal(stddev=1e-50),
            "RandomNormal needs stddev > 0 in float32",
        ),
        (
            lambda: mt.initializers.RandomNormal(stddev=1e38),
            "RandomNormal needs a mean + 9 stddev that is finite in float32.",
        ),
        (
            lambda: mt.initializers.RandomUniform(-3e38, 3e38),
            "RandomUniform needs maxval - minval to be finite in float32.",
        ),
    ],
)
def test_what_float32_makes_another_number_is_refused_at_once(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def test_the_numbers_next_to_them_make_tables():
    for number, segment in enumerate(
        [
            mt.Segment(1, mt.optimizers.Adam(beta_2=0.9999999)),
            mt.Segment(1, mt.optimizers.Adam(epsilon=1.2e-38)),
            mt.Segment(1, mt.optimizers.Adagrad(epsilon=0)),
            mt.Segment(1, initializer=mt.initializers.Constant(-3.4e38)),
            mt.Segment(1, initializer=mt.initializers.RandomNormal(0.0, 3e37)),
            mt.Segment(1, precision=mt.precisions.Int8(1e-30)),
        ]
    ):
        mt.Table(mt.TableConfig(f"edge{number}", segments=[segment]))


def test_ftrl_says_why_it_takes_no_lower_power():
    message = "-1 <= learning_rate_power <= 0. Below -1 .*float32.*tf.keras.*-2"
    with pytest.raises(ValueError, match=message):
        mt.optimizers.Ftrl(learning_rate_power=-2)
