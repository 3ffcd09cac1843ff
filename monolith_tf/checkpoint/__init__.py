"""Checkpoints of tables in the formats of TensorFlow and Keras.

Imports `step` and below. Start with `table_state.py`, then `by_name.py`.
Its functions load on first use, because `mt.Table` imports this room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monolith_tf.checkpoint.by_name import restore_tables
    from monolith_tf.checkpoint.restore_scope import restoring

__all__ = ["restore_tables", "restoring"]


def __getattr__(name: str):
    """Loads `restore_tables` and `restoring`."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from monolith_tf.checkpoint import by_name
    from monolith_tf.checkpoint import restore_scope

    return {
        "restore_tables": by_name.restore_tables,
        "restoring": restore_scope.restoring,
    }[name]
