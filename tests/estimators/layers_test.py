"""Importing the layers of tf.compat.v1 says at once what they need."""

from __future__ import annotations

import os

import pytest

import processes

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def run(program, setting):
    done = processes.run(
        [*processes.PYTHON, "-c", program],
        code=None,
        env={**os.environ, "TF_USE_LEGACY_KERAS": setting},
    )
    return done.returncode, done.stdout, done.stderr


def test_they_are_those_of_tensorflow_with_keras_2():
    code, output, error = run(
        "import tensorflow as tf\n"
        "from monolith_tf.estimators import layers\n"
        "there = tf.compat.v1.layers\n"
        "names = [name for name in dir(there) if name[0] != '_']\n"
        "names.remove('experimental')\n"
        "assert all(getattr(layers, n) is getattr(there, n) for n in names)\n"
        "print(len(names))\n",
        "1",
    )
    assert code == 0, error
    assert int(output) == 36


def test_the_import_says_what_to_set_and_nothing_else_needs_it():
    code, output, error = run(
        "from monolith_tf import estimators\n"
        "print('imported', estimators.Estimator.__name__)\n"
        "from monolith_tf.estimators import layers\n",
        "0",
    )
    assert output == "imported Estimator\n"
    assert code != 0
    assert "Set TF_USE_LEGACY_KERAS=1" in error
    assert "Received: TF_USE_LEGACY_KERAS='0' when TensorFlow loaded" in error
