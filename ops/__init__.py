"""Python wrappers of the C++ ops, installed as `monolith_tf.ops`.

One function per op, with the name and the documentation of its op.
Imports `config` and below. Start with `table_ops.py`; the C++ starts with
`cc/table/table.h`. A wrapper names arguments and documents shapes and dtypes;
the op checks them. `name` is the op's name in the graph and in profiles. Models
use `mt.Table` and the layers, which call the wrappers per shard:

>>> import monolith_tf as mt
>>> import tensorflow as tf
>>> handle = table_set_handle("example of ops")
>>> config = mt.TableConfig("movie", dim=2,
...                         initializer=mt.initializers.Constant(0.5))
>>> table_create(handle, generation=1,
...              attributes=config.op_attributes(shard=0, num_shards=1))
>>> now = tf.constant(1_700_000_000, tf.int64)
>>> assign(handle, tf.constant([7], tf.int64), [[1.0, 2.0]], now,
...        table="movie")
>>> rows, exists = lookup_with_exists(
...     handle, tf.constant([7, 8], tf.int64), table="movie", dim=2)
>>> rows.numpy().tolist(), exists.numpy().tolist()
([[1.0, 2.0], [0.5, 0.5]], [True, False])
>>> tf.raw_ops.DestroyResourceOp(resource=handle)
"""

from monolith_tf.ops.delta_ops import MAX_LOG_BYTES
from monolith_tf.ops.delta_ops import renew
from monolith_tf.ops.delta_ops import start_deltas
from monolith_tf.ops.delta_ops import stop_deltas
from monolith_tf.ops.delta_ops import table_set_status
from monolith_tf.ops.delta_ops import take_delta
from monolith_tf.ops.feature_ops import FeatureBatch
from monolith_tf.ops.feature_ops import attach
from monolith_tf.ops.feature_ops import checked_weights
from monolith_tf.ops.feature_ops import combine
from monolith_tf.ops.feature_ops import fill_missing
from monolith_tf.ops.feature_ops import partition
from monolith_tf.ops.feature_ops import sparse_splits
from monolith_tf.ops.gradient_ops import Columns
from monolith_tf.ops.gradient_ops import combine_gradients
from monolith_tf.ops.gradient_ops import partition_gradients
from monolith_tf.ops.gradient_ops import slices
from monolith_tf.ops.restore_ops import abandon_restore
from monolith_tf.ops.restore_ops import begin_restore
from monolith_tf.ops.restore_ops import end_restore
from monolith_tf.ops.snapshot_ops import SnapshotMoment
from monolith_tf.ops.snapshot_ops import snapshot_abort
from monolith_tf.ops.snapshot_ops import snapshot_begin
from monolith_tf.ops.snapshot_ops import snapshot_read
from monolith_tf.ops.snapshot_ops import snapshot_write
from monolith_tf.ops.state_ops import export_chunk
from monolith_tf.ops.state_ops import export_filter
from monolith_tf.ops.state_ops import export_groups
from monolith_tf.ops.state_ops import import_filter
from monolith_tf.ops.state_ops import import_rows
from monolith_tf.ops.state_ops import read_clock
from monolith_tf.ops.state_ops import set_clock
from monolith_tf.ops.stats_ops import export_requests
from monolith_tf.ops.stats_ops import import_requests
from monolith_tf.ops.stats_ops import request_counts
from monolith_tf.ops.stats_ops import server_counters
from monolith_tf.ops.stats_ops import stats
from monolith_tf.ops.stats_ops import worker_counters
from monolith_tf.ops.step_ops import apply
from monolith_tf.ops.step_ops import lookup
from monolith_tf.ops.step_ops import with_request
from monolith_tf.ops.stock_combine import stock_checked_weights
from monolith_tf.ops.stock_combine import stock_combine
from monolith_tf.ops.stock_combine import stock_fill_missing
from monolith_tf.ops.stock_combine import stock_sparse_splits
from monolith_tf.ops.stock_combine import valid_ids
from monolith_tf.ops.table_ops import assign
from monolith_tf.ops.table_ops import clear
from monolith_tf.ops.table_ops import lookup_with_exists
from monolith_tf.ops.table_ops import remove
from monolith_tf.ops.table_ops import set_pretrained
from monolith_tf.ops.table_ops import size
from monolith_tf.ops.table_ops import sweep
from monolith_tf.ops.table_ops import table_create
from monolith_tf.ops.table_ops import table_drop
from monolith_tf.ops.table_ops import table_set_handle
from monolith_tf.ops.wire_ops import narrow
from monolith_tf.ops.wire_ops import widen
from monolith_tf.ops.writer_ops import adopt_table_set
from monolith_tf.ops.writer_ops import drain
from monolith_tf.ops.writer_ops import fence_writers

__all__ = [
    "Columns",
    "FeatureBatch",
    "MAX_LOG_BYTES",
    "SnapshotMoment",
    "abandon_restore",
    "adopt_table_set",
    "apply",
    "assign",
    "attach",
    "begin_restore",
    "checked_weights",
    "clear",
    "combine",
    "combine_gradients",
    "drain",
    "end_restore",
    "export_chunk",
    "export_filter",
    "export_groups",
    "export_requests",
    "fence_writers",
    "fill_missing",
    "import_filter",
    "import_requests",
    "import_rows",
    "lookup",
    "lookup_with_exists",
    "narrow",
    "partition",
    "partition_gradients",
    "read_clock",
    "remove",
    "renew",
    "request_counts",
    "server_counters",
    "set_pretrained",
    "set_clock",
    "size",
    "slices",
    "snapshot_abort",
    "snapshot_begin",
    "snapshot_read",
    "snapshot_write",
    "sparse_splits",
    "start_deltas",
    "stats",
    "stop_deltas",
    "sweep",
    "stock_checked_weights",
    "stock_combine",
    "stock_fill_missing",
    "stock_sparse_splits",
    "table_create",
    "table_drop",
    "table_set_handle",
    "table_set_status",
    "take_delta",
    "valid_ids",
    "widen",
    "with_request",
    "worker_counters",
]
