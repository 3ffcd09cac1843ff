"""Rows of tables in .keras files, among the own variables of a layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from monolith_tf.checkpoint.layout import check_filter
from monolith_tf.checkpoint.layout import layout
from monolith_tf.checkpoint.restore_scope import TableRestore
from monolith_tf.checkpoint.restore_scope import restoring
from monolith_tf.checkpoint.table_rows import export_rows
from monolith_tf.checkpoint.table_rows import import_rows
from monolith_tf.checkpoint.table_state import TableState
from monolith_tf.checkpoint.table_state import set_state
from monolith_tf.checkpoint.table_state import state_of
from monolith_tf.errors import CheckpointError
from monolith_tf.placement.table_handle import TableHandle


def save_tables(tables: Sequence[TableHandle], store) -> None:
    """Writes rows with their slots, and the counts of admission.

    Args:
        tables: Distinct tables.
        store: Name to array, as Keras passes it to `save_own_variables`.
    """
    for table in tables:
        parts = list(export_rows(table))
        for number, (ids, stamps, rows) in enumerate(parts):
            prefix = f"{table.name}:{number}"
            store[f"{prefix}:ids"] = ids
            store[f"{prefix}:stamps"] = stamps
            store[f"{prefix}:rows"] = rows
        store[f"{table.name}:parts"] = len(parts)
        store[f"{table.name}:layout"] = np.frombuffer(
            layout(table).encode(), np.uint8
        )
        state = state_of(table)
        store[f"{table.name}:clock"] = state.clock
        store[f"{table.name}:filter"] = np.frombuffer(
            state.filter.encode(), np.uint8
        )
        store[f"{table.name}:counted"] = state.counted
        store[f"{table.name}:words"] = state.words


def load_tables(tables: Sequence[TableHandle], store) -> None:
    """Replaces the rows of tables by those of a file.

    Args:
        tables: Distinct tables.
        store: Name to array, as `save_tables` filled it.

    Raises:
        CheckpointError: A part is missing, or the rows are of another layout;
            no table changed.
    """
    for table in tables:
        _check_stored(table, store)
    with restoring():
        for table in tables:
            of_table = TableRestore(table)
            of_table.begin()
            table.clear()
            set_state(table, _stored_state(table, store))
            for number in range(int(store[f"{table.name}:parts"][()])):
                prefix = f"{table.name}:{number}"
                import_rows(
                    table,
                    store[f"{prefix}:ids"][()],
                    store[f"{prefix}:stamps"][()],
                    store[f"{prefix}:rows"][()],
                )
            of_table.end()


@tf.autograph.experimental.do_not_convert
def _check_stored(table: TableHandle, store) -> None:
    """Rejects the parts of a table in a .keras file unless all of them fit."""
    parts, found = f"{table.name}:parts", f"{table.name}:layout"
    if parts not in store or found not in store:
        raise CheckpointError(
            f"The .keras file has no rows of table {table.name!r}. "
            "Load it into the model that was saved."
        )
    expected = layout(table)
    saved = bytes(np.asarray(store[found][()])).decode()
    if saved != expected:
        raise CheckpointError(
            f"The .keras file's rows do not fit table {table.name!r}, which "
            f"has {expected!r}. The file has {saved!r}. Load it into a model "
            "of the config that was saved."
        )
    for number in range(int(store[parts][()])):
        for what in ("ids", "stamps", "rows"):
            if f"{table.name}:{number}:{what}" not in store:
                raise CheckpointError(
                    f"The .keras file lacks {what} of part {number} of table "
                    f"{table.name!r}. Nothing was loaded; use another file."
                )
    check_filter(table, tf.constant(_stored_state(table, store).filter))


def _stored_state(table: TableHandle, store) -> TableState:
    found = {}
    for what in ("clock", "filter", "counted", "words"):
        key = f"{table.name}:{what}"
        if key not in store:
            raise CheckpointError(
                f"The .keras file lacks {what} of table {table.name!r}. "
                "Nothing was loaded; use another file."
            )
        found[what] = np.asarray(store[key][()])
    found["filter"] = bytes(found["filter"]).decode()
    return TableState(**found)
