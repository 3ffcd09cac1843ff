"""Tables of a server: rows of trained ids, initial rows of others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from monolith_tf.serving.graph import growth
from monolith_tf.serving.graph import reserved_ids
from monolith_tf.serving.graph import row_file
from monolith_tf.serving.graph.packed_rows import PackedRows
from monolith_tf.serving.graph.row_map import RowMap
from monolith_tf.stock_ops import hashing
from monolith_tf.stock_ops.initial_rows import initial_rows

# Last element of a stored value. Absent is read, never stored.
_LIVE = 1
_DEAD = 0
_ABSENT = -1


class ServingTable(tf.Module):
    """A table in an export: concurrent lookups, one writer at a time.

    A value is a row, packed in the precision of the table, and a flag.
    Arguments and results are float32.

    DenseHashTable never reuses the bucket of a removed key, so a tombstone
    overwrites a row with zeros and flag 0 and is counted. Absent and dead ids
    read their initial row.

    DenseHashTable uses the low bits of a key as its bucket, which packed ids
    and ids with a stride share. So a key is a mixed id: `mix64(id ^ salt)`, one
    to one. The two ids of `reserved_ids` have no key; a variable has their
    values.

    `lookup` may run concurrently with all calls. `apply` must hold the mutex of
    the export. Each call is atomic, except a change of both reserved and other
    ids.

    Args:
        config: `monolith_tf.TableConfig`; name, seed and segments are used.
        shared_name: Unique name of the hash table in a server.
        salt: Any int64.
        step: Global step that all rows have reached: from `anneal_steps` on
            `OneBit` is stored as bits.
        num_buckets: Buckets to start with, a power of two.
    """

    def __init__(
        self,
        config,
        *,
        shared_name: str,
        salt: int = 0,
        step: int = 0,
        num_buckets: int = growth.MIN_BUCKETS,
    ):
        """Makes an empty table."""
        super().__init__()
        self._config = config
        self._dim = config.dim
        self._packed = PackedRows.of(config, step)
        self._salt = salt
        reserved_keys = self._key_of(
            tf.constant(reserved_ids.RESERVED_IDS, tf.int64)
        )
        self._map = RowMap(
            width=self._packed.width + 1,
            dtype=self._packed.dtype,
            shared_name=shared_name,
            key_of=self._key_of,
            reserved_keys=tuple(int(key) for key in reserved_keys),
            num_buckets=num_buckets,
        )
        self._reserved = tf.Variable(
            [self._absent_value()] * len(reserved_ids.RESERVED_IDS),
            trainable=False,
            dtype=self._packed.dtype,
            name="reserved_rows",
        )
        self._live = _counter("live_rows", 0)
        self._dead = _counter("dead_rows", 0)
        self._buckets = _counter("buckets", num_buckets)

    def start_from(
        self,
        files: Sequence[row_file.RowFile],
        *,
        num_rows: int,
        reserved_rows: dict[int, np.ndarray],
        num_buckets: int,
    ) -> None:
        """Sets the initial rows of a loaded copy; call it once before saving.

        Args:
            files: Row files, without the reserved ids.
            num_rows: Distinct ids in `files`.
            reserved_rows: Packed rows of reserved ids, by id.
            num_buckets: Buckets to start with, a power of two.
        """
        self._map.start_from(files, num_buckets)
        values = self._reserved.numpy()
        for id_, row in reserved_rows.items():
            index = reserved_ids.RESERVED_IDS.index(id_)
            values[index, :-1], values[index, -1] = row, _LIVE
        self._reserved.assign(values)
        self._live.assign(num_rows + len(reserved_rows))
        self._buckets.assign(num_buckets)

    @property
    def config(self):
        """`TableConfig` of the rows."""
        return self._config

    @property
    def dim(self) -> int:
        """Length of a row."""
        return self._dim

    @property
    def packed(self) -> PackedRows:
        """Layout of the stored rows."""
        return self._packed

    def status(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns live rows, dead rows and buckets; int64 scalars."""
        return (
            self._live.read_value(),
            self._dead.read_value(),
            self._buckets.read_value(),
        )

    def lookup(self, ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns rows of ids; initial rows of absent and dead ids.

        Args:
            ids: int64 `[n]`; may repeat.

        Returns:
            `(rows, exists)`: float32 `[n, dim]`, int64 `[n]` of 1 and 0.
        """
        values = self._find(ids)
        exists = values[:, -1] > 0
        # Only where needed: few ids in steady traffic.
        unseen = tf.where(tf.logical_not(exists))
        rows = tf.tensor_scatter_nd_update(
            self._packed.unpack(values[:, :-1]),
            unseen,
            initial_rows(self._config, tf.gather_nd(ids, unseen)),
        )
        rows = tf.ensure_shape(rows, [None, self._dim])
        return rows, tf.cast(exists, tf.int64)

    def apply(
        self, ids: tf.Tensor, exists: tf.Tensor, rows: tf.Tensor
    ) -> tf.Tensor:
        """Sets rows and tombstones.

        Args:
            ids: int64 `[n]`, distinct.
            exists: bool `[n]`; False marks a tombstone.
            rows: float32 `[m, dim]`, one per id that exists, in order; all must
                fit `packed`.

        Returns:
            int64 scalar `n`, after everything is written.
        """
        flags = self._find(ids)[:, -1]
        was_live = flags > 0
        was_dead = tf.equal(flags, _DEAD)
        rows = self._packed.pack(rows)
        ones = tf.ones([tf.shape(rows)[0], 1], rows.dtype)
        values = tf.tensor_scatter_nd_update(
            tf.zeros([tf.size(ids), self._packed.width + 1], rows.dtype),
            tf.where(exists),
            # An update preserves all bits; a sum would lose the sign of -0.0.
            tf.concat([rows, _LIVE * ones], axis=1),
        )
        # A tombstone of an absent id needs no bucket.
        stored = exists | (flags >= 0)
        slot, is_reserved = _reserved_slot(ids)
        keys = tf.boolean_mask(self._key_of(ids), stored & ~is_reserved)
        inserted = tf.size(keys, out_type=tf.int64)
        entries = self._map.size()
        writes = [
            self._reserved.assign(
                tf.tensor_scatter_nd_update(
                    self._reserved,
                    tf.boolean_mask(slot, stored & is_reserved)[:, None],
                    tf.boolean_mask(values, stored & is_reserved),
                )
            ),
            self._buckets.assign(
                growth.buckets_after_insert(
                    self._buckets.read_value(), entries, inserted
                )
            ),
            self._live.assign_add(
                _count(exists & ~was_live) - _count(~exists & was_live)
            ),
            self._dead.assign_add(
                _count(~exists & was_live) - _count(exists & was_dead)
            ),
        ]
        with tf.control_dependencies([flags, entries]):
            writes.append(
                self._map.insert(
                    keys,
                    tf.boolean_mask(values, stored & ~is_reserved),
                )
            )
        # Eager operations are None and done.
        with tf.control_dependencies([w for w in writes if w is not None]):
            return tf.size(ids, out_type=tf.int64)

    def _key_of(self, ids: tf.Tensor) -> tf.Tensor:
        salted = tf.bitwise.bitwise_xor(ids, tf.constant(self._salt, tf.int64))
        return tf.bitcast(
            hashing.mix64_tensor(hashing.as_uint64(salted)), tf.int64
        )

    def _absent_value(self) -> list[int]:
        return [0] * self._packed.width + [_ABSENT]

    def _find(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns values `[n, width + 1]`; flag `_ABSENT` for absent ids."""
        absent = tf.constant(self._absent_value(), self._packed.dtype)
        slot, is_reserved = _reserved_slot(ids)
        # Reserved ids look up the key of another id.
        stand_in = self._key_of(tf.zeros_like(ids))
        keys = tf.where(is_reserved, stand_in, self._key_of(ids))
        return tf.where(
            is_reserved[:, None],
            tf.gather(self._reserved, tf.maximum(slot, 0)),
            self._map.find(keys, absent),
        )


def _reserved_slot(ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the index of each id in `RESERVED_IDS`, -1 and False if none."""
    slot = tf.where(
        tf.equal(ids, reserved_ids.EMPTY_ID),
        0,
        tf.where(tf.equal(ids, reserved_ids.DELETED_ID), 1, -1),
    )
    return slot, slot >= 0


def _counter(name: str, value: int) -> tf.Variable:
    return tf.Variable(value, trainable=False, dtype=tf.int64, name=name)


def _count(mask: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(mask, tf.int64))
