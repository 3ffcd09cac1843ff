"""A table whose rows can be told by hand, and what a model holds."""

from __future__ import annotations

import numpy as np
import pytest

import monolith_tf as mt
from monolith_tf.checkpoint.table_rows import export_rows
from monolith_tf.placement.registry import tables_of


@pytest.fixture
def make_config():
    """Makes configs of rows of ones, stepped by SGD at rate 0.5."""

    def make(name="movie", dim=2, optimizer=None, **kwargs):
        return mt.TableConfig(
            name,
            dim=dim,
            optimizer=optimizer or mt.optimizers.SGD(0.5),
            initializer=mt.initializers.Constant(1.0),
            **kwargs,
        )

    return make


@pytest.fixture
def contents():
    """Table name to id to (seconds, weights and slots), for comparison."""

    def read(model, times=True):
        return {
            table.name: {
                int(one): (int(time) if times else 0, row.tobytes())
                for ids, stamps, rows in export_rows(table)
                for one, time, row in zip(ids, stamps, rows, strict=True)
            }
            for table in tables_of(model)
        }

    return read


@pytest.fixture
def assert_same_state(contents):
    """Rows, slots, dense weights and the optimizer are bit for bit equal."""

    def check(model, other):
        assert contents(model, times=False) == contents(other, times=False)
        ours, theirs = (
            [
                variable.numpy()
                for variable in one.weights + one.optimizer.variables
                # Those of tables have shape [0, dim].
                if 0 not in variable.shape
            ]
            for one in (model, other)
        )
        for mine, yours in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(mine, yours)

    return check
