"""The examples in docstrings run, and show what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import monolith_tf


def modules():
    found = ["monolith_tf"]
    for package in ("monolith_tf", "monolith_tf.ops", "monolith_tf.serving"):
        path = importlib.import_module(package).__path__
        found += [
            module.name
            for module in pkgutil.walk_packages(path, package + ".")
            if not module.name.endswith(("__main__", "._monolith_ops"))
        ]
    return sorted(set(found))


# Examples that start a process.
WITH_PROCESSES = {"monolith_tf.cluster.child_process"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.e2e] * (name in WITH_PROCESSES))
        for name in modules()
    ],
)
def test_the_examples_of_a_module_run(name):
    if name == "monolith_tf.estimators.layers":
        # It refuses to be imported, rightly, unless TF_USE_LEGACY_KERAS was set
        # before TensorFlow loaded Keras.
        module = pytest.importorskip(name, exc_type=ImportError)
    else:
        module = importlib.import_module(name)
    results = doctest.testmod(
        module,
        extraglobs={"mt": monolith_tf},
        optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS,
    )
    assert results.failed == 0, f"{results.failed} examples of {name} fail"
