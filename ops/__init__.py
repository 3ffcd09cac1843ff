"""Python wrappers of the C++ ops, one function an op.

The wrappers check nothing that the ops check themselves; they name arguments,
and say shapes and dtypes.
"""

from monolith_tf.ops.batch_ops import attach
from monolith_tf.ops.batch_ops import gather_rows
from monolith_tf.ops.batch_ops import partition
from monolith_tf.ops.batch_ops import partition_gradients
from monolith_tf.ops.delta_ops import renew
from monolith_tf.ops.delta_ops import start_deltas
from monolith_tf.ops.delta_ops import table_set_status
from monolith_tf.ops.delta_ops import take_delta
from monolith_tf.ops.table_ops import apply
from monolith_tf.ops.table_ops import assign
from monolith_tf.ops.table_ops import clear
from monolith_tf.ops.table_ops import export_chunk
from monolith_tf.ops.table_ops import export_groups
from monolith_tf.ops.table_ops import import_rows
from monolith_tf.ops.table_ops import lookup
from monolith_tf.ops.table_ops import lookup_with_exists
from monolith_tf.ops.table_ops import memory_bytes
from monolith_tf.ops.table_ops import remove
from monolith_tf.ops.table_ops import size
from monolith_tf.ops.table_ops import table_create
from monolith_tf.ops.table_ops import table_drop
from monolith_tf.ops.table_ops import table_set_handle

__all__ = [
    "apply",
    "assign",
    "attach",
    "clear",
    "export_chunk",
    "export_groups",
    "gather_rows",
    "import_rows",
    "lookup",
    "lookup_with_exists",
    "memory_bytes",
    "partition",
    "partition_gradients",
    "remove",
    "renew",
    "size",
    "start_deltas",
    "table_create",
    "table_drop",
    "table_set_handle",
    "table_set_status",
    "take_delta",
]
