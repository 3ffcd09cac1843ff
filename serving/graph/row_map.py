"""A DenseHashTable from int64 keys to rows as a resource of a SavedModel.

`tf.lookup.experimental.DenseHashTable` writes all its buckets, also empty ones,
into the checkpoint as one tensor, and all loads in a process share it. This
class starts from row files, and each load has its own table.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from monolith_tf.serving.graph import growth
from monolith_tf.serving.graph import row_file


class RowMap(tf.saved_model.experimental.TrackableResource):
    """The hash table: keys to `[width]` values, except two reserved keys.

    Args:
        width: Length of a value; the last element is a flag, 1 for the rows of
            row files.
        dtype: Dtype of the values, float32 or int32.
        shared_name: Unique name of the resource in a server: tables with equal
            names in a process are one table.
        key_of: Maps int64 ids `[n]` to int64 keys `[n]`, one to one, by stock
            ops.
        reserved_keys: The two keys that are never passed.
        num_buckets: Buckets to start with, a power of two.
    """

    def __init__(
        self,
        *,
        width: int,
        dtype: tf.DType,
        shared_name: str,
        key_of,
        reserved_keys: tuple[int, int],
        num_buckets: int = growth.MIN_BUCKETS,
    ):
        """Makes the empty table of this process."""
        super().__init__(device="CPU")
        self._width = width
        self._dtype = dtype
        self._num_buckets = num_buckets
        self._shared_name = shared_name
        self._key_of = key_of
        self._reserved_keys = reserved_keys
        self._files = ()
        self._assets = []
        self._in_server_graph = False
        # Made now: a trace would make it in its own graph.
        with tf.init_scope(), tf.device("CPU"):
            self._resource_handle = self._create_resource()

    def start_from(
        self, files: Sequence[row_file.RowFile], num_buckets: int
    ) -> None:
        """Sets the initial rows of a loaded copy; call it once before saving.

        The table of this process stays empty: an export of ten million rows
        does not need them in memory.

        Args:
            files: Row files, of rows of `width - 1` numbers of `dtype`.
            num_buckets: Buckets to start with, a power of two.
        """
        self._files = tuple(files)
        self._num_buckets = num_buckets
        self._assets = [tf.saved_model.Asset(file.path) for file in files]
        # Tracked, so that saving copies the files into the assets.
        for index, asset in enumerate(self._assets):
            self._track_trackable(asset, f"rows_{index}")

    def _create_resource(self) -> tf.Tensor:
        empty_key, deleted_key = self._reserved_keys
        arguments = {
            "empty_key": tf.constant(empty_key, tf.int64),
            "deleted_key": tf.constant(deleted_key, tf.int64),
            "value_dtype": self._dtype,
            "value_shape": [self._width],
            "initial_num_buckets": self._num_buckets,
            "max_load_factor": growth.MAX_LOAD_FACTOR,
        }
        if self._in_server_graph:
            return tf.raw_ops.MutableDenseHashTableV2(
                shared_name=self._shared_name, **arguments
            )
        # `tf.saved_model.load` runs this once per load. Anonymous, so that a
        # second load in the process starts from the files and not from the
        # current state of the first.
        return tf.raw_ops.AnonymousMutableDenseHashTable(**arguments)

    def _export_to_saved_model_graph(
        self, object_map=None, tensor_map=None, **kwargs
    ):
        # The graph of a C++ server. Its op runs once per request and needs a
        # name to find the same table again.
        self._in_server_graph = True
        try:
            return super()._export_to_saved_model_graph(
                object_map=object_map, tensor_map=tensor_map, **kwargs
            )
        finally:
            self._in_server_graph = False

    def _initialize(self) -> None:
        if not self._files:
            return
        paths = tf.stack([asset.asset_path for asset in self._assets])
        counts = tf.constant([f.num_rows for f in self._files], tf.int64)
        fingerprints = tf.constant(
            [list(f.fingerprint) for f in self._files], tf.uint8
        )

        def load(index):
            path = paths[index]
            content = tf.io.read_file(path)
            intact = tf.reduce_all(
                tf.fingerprint([content])[0] == fingerprints[index]
            )
            check = tf.debugging.Assert(
                intact,
                [
                    "Row file of the export is damaged, export again:",
                    path,
                ],
            )
            with tf.control_dependencies([check]):
                count = tf.identity(counts[index])
            ids, rows = self._decode(content, count)
            ones = tf.ones([tf.size(ids), 1], self._dtype)
            with tf.control_dependencies(
                [self.insert(self._key_of(ids), tf.concat([rows, ones], 1))]
            ):
                return (index + 1,)

        tf.while_loop(
            lambda index: index < len(self._files),
            load,
            (tf.constant(0),),
            parallel_iterations=1,
        )

    def _decode(self, content: tf.Tensor, count: tf.Tensor):
        """Returns ids `[n]` and rows `[n, width - 1]` of a checked file."""
        width = self._width - 1
        ids_bytes = tf.cast(8 * count, tf.int32)
        rows_bytes = tf.cast(4 * width * count, tf.int32)
        start = self._files[0].start
        ids = tf.io.decode_raw(
            tf.strings.substr(content, start, ids_bytes), tf.int64
        )
        rows = tf.io.decode_raw(
            tf.strings.substr(content, start + ids_bytes, rows_bytes),
            self._dtype,
        )
        return ids, tf.reshape(rows, [-1, width])

    def insert(self, keys: tf.Tensor, values: tf.Tensor) -> tf.Operation:
        """Inserts or overwrites values; each call is atomic.

        Args:
            keys: int64 `[n]`, without reserved keys.
            values: `dtype` `[n, width]`.

        Returns:
            The operation (None when eager).
        """
        return tf.raw_ops.LookupTableInsertV2(
            table_handle=self.resource_handle, keys=keys, values=values
        )

    def find(self, keys: tf.Tensor, default: tf.Tensor) -> tf.Tensor:
        """Returns the values of keys.

        Args:
            keys: int64 `[n]`, without reserved keys.
            default: `dtype` `[width]`, value of absent keys.

        Returns:
            `dtype` `[n, width]`.
        """
        values = tf.raw_ops.LookupTableFindV2(
            table_handle=self.resource_handle, keys=keys, default_value=default
        )
        return tf.ensure_shape(values, [None, self._width])

    def size(self) -> tf.Tensor:
        """Returns the number of keys, an int64 scalar."""
        return tf.raw_ops.LookupTableSizeV2(table_handle=self.resource_handle)
