"""Checkpoints of tables in the formats of TensorFlow and Keras.

Imports `step` and below. Start with `table_state.py`, then `by_name.py`.
`restore_tables` loads on first use, because `mt.Table` imports this room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monolith_tf.checkpoint.by_name import restore_tables

__all__ = ["restore_tables"]


def __getattr__(name: str):
    """Loads `restore_tables`."""
    if name != "restore_tables":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from monolith_tf.checkpoint import by_name

    return by_name.restore_tables
