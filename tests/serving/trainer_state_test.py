"""Sources of deltas."""

from __future__ import annotations

import pytest

import monolith_tf as mt
from monolith_tf.serving.trainer_state import TrainerState


def test_tables_that_do_not_track_changes_are_refused():
    with mt.TableSet() as table_set:
        tables = [
            mt.Table(mt.TableConfig("user", dim=1)),
            mt.Table(mt.TableConfig("item", dim=1, tracks_changes=False)),
        ]
    with pytest.raises(ValueError, match="Received: item with.*full exports"):
        TrainerState(table_set, []).start_deltas()
    del tables


def test_tables_that_track_changes_are_taken():
    with mt.TableSet() as table_set:
        table = mt.Table(mt.TableConfig("user", dim=1))
    state = TrainerState(table_set, [])
    state.start_deltas()
    table.assign([7], [[1.0]])
    assert state.take_delta(0, 0).tables["user"].ids.tolist() == [7]
