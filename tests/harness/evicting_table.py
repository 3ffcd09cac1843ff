"""Tables with an eviction policy, and their updates in event time."""

from __future__ import annotations

import numpy as np

import monolith_tf as mt


def make(eviction, name="table", **arguments):
    """Creates a table of rows of one float, by default of value 1."""
    arguments.setdefault("optimizer", mt.optimizers.SGD(1.0))
    arguments.setdefault("initializer", mt.initializers.Constant(1.0))
    arguments.setdefault("dim", 1)
    return mt.Table(mt.TableConfig(name, eviction=eviction, **arguments))


def update(table, ids, event_time, gradient=1.0):
    """Updates ids at a time, all with the same gradient."""
    ids = np.array(ids, np.int64)
    gradients = np.full([len(ids), table.dim], gradient, np.float32)
    table.apply_gradients(ids, gradients, event_time=event_time)


def ids_of(table):
    """Returns the ids that have a row, sorted."""
    return sorted(int(id) for ids, _ in table.export() for id in ids)
