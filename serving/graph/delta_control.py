"""Control signatures of a served export: apply a delta, read the status."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from monolith_tf.serving.graph import delta_checks
from monolith_tf.serving.graph.delta_status import FORMAT
from monolith_tf.serving.graph.delta_status import DeltaStatus
from monolith_tf.serving.graph.dense_copy import DenseCopy
from monolith_tf.serving.graph.serving_table import ServingTable


class DeltaControl(tf.Module):
    """Applies each delta of each stream once and in order.

    Streams 0 to N - 1 are the shards and carry rows, stream N carries the
    dense variables. A delta is checked as a whole. Under one mutex it is then
    compared with its stream's last sequence number, applied and counted.

    Args:
        tables: Tables in the order of their names.
        dense: The dense variables.
        export_id: Positive id of this export.
        generations: Generation per shard at the time of the export.
        mutex_name: Unique name of the mutex in a server.
    """

    def __init__(
        self,
        tables: Sequence[ServingTable],
        dense: DenseCopy,
        *,
        export_id: int,
        generations: Sequence[int],
        mutex_name: str,
    ):
        """Makes the sequence numbers, initially 0."""
        super().__init__()
        self._tables = list(tables)
        self._dense = dense
        self._export_id = export_id
        # The dense stream has no shard, so its generation is fixed.
        self._generations = [*generations, export_id]
        self._mutex_name = mutex_name
        self._last_sequences = tf.Variable(
            [0] * len(self._generations),
            trainable=False,
            dtype=tf.int64,
            name="last_sequences",
        )

    def apply_delta_function(self) -> tf.types.experimental.ConcreteFunction:
        """Returns the concrete function of `monolith_apply_delta`."""
        # Unknown first dimensions, so that the check rejects requests that a
        # server has batched.
        specs = {"header": tf.TensorSpec([None, None], tf.int64)}
        for index in range(len(self._tables)):
            specs[f"ids_{index}"] = tf.TensorSpec([None, None], tf.int64)
            specs[f"rows_{index}"] = tf.TensorSpec([None, None], tf.float32)
            specs[f"exists_{index}"] = tf.TensorSpec([None, None], tf.int64)
        specs["dense"] = tf.TensorSpec([None], tf.string)
        function = tf.function(self._apply_delta, autograph=False)
        return function.get_concrete_function(**specs)

    def status_function(self) -> tf.types.experimental.ConcreteFunction:
        """Returns the concrete function of `monolith_status`."""
        function = tf.function(self._status, autograph=False)
        return function.get_concrete_function(
            query=tf.TensorSpec([None, None], tf.int64)
        )

    def _apply_delta(self, **inputs) -> dict[str, tf.Tensor]:
        checks = delta_checks.check_delta(
            inputs,
            tables=self._tables,
            dense_bytes=self._dense.num_bytes,
            export_id=self._export_id,
            generations=self._generations,
        )
        header = delta_checks.header_fields(inputs["header"])
        stream = delta_checks.stream_of(header, len(self._generations))
        sequence = header["sequence"]
        lock = self._lock()
        with tf.control_dependencies([lock]):
            expected = tf.gather(self._last_sequences, stream) + 1
            checks += delta_checks.check_sequence(sequence, expected)
            verdict = delta_checks.verdict(checks)
            applied_rows = tf.cond(
                tf.equal(verdict.status, DeltaStatus.APPLIED),
                lambda: self._write(inputs, stream, sequence),
                lambda: tf.constant(0, tf.int64),
            )
            expected = expected + tf.cast(
                tf.equal(verdict.status, DeltaStatus.APPLIED), tf.int64
            )
        self._unlock(lock, [applied_rows, expected])
        return {
            "status": verdict.status[None],
            "expected_sequence": expected[None],
            "expected_generation": tf.gather(
                tf.constant(self._generations, tf.int64), stream
            )[None],
            "export_id": tf.constant([self._export_id], tf.int64),
            "message": verdict.message[None],
            "applied_rows": applied_rows[None],
        }

    def _write(self, inputs, stream, sequence) -> tf.Tensor:
        """Applies an accepted delta; returns the number of applied ids."""
        counts = []
        for index, table in enumerate(self._tables):
            counts.append(
                _apply_rows(
                    table,
                    inputs[f"ids_{index}"][0],
                    tf.not_equal(inputs[f"exists_{index}"][0], 0),
                    tf.reshape(inputs[f"rows_{index}"], [-1, table.dim]),
                )
            )
        content = tf.io.decode_raw(inputs["dense"][0], tf.uint8)
        written = tf.cond(
            tf.size(content) > 0,
            lambda: _true_after(self._dense.assign(content)),
            lambda: tf.constant(True),
        )
        with tf.control_dependencies([*counts, written]):
            advanced = self._last_sequences.assign(
                tf.tensor_scatter_nd_update(
                    self._last_sequences, stream[None, None], sequence[None]
                ),
                read_value=False,
            )
        with tf.control_dependencies([advanced]):
            return tf.add_n(counts) if counts else tf.constant(0, tf.int64)

    def _status(self, query: tf.Tensor) -> dict[str, tf.Tensor]:
        del query
        lock = self._lock()
        with tf.control_dependencies([lock]):
            # identity: a read may return the variable's own buffer.
            last_sequences = tf.identity(self._last_sequences.read_value())
            rows = [table.status() for table in self._tables]
            live, dead, buckets = (
                tf.stack(column)[None] for column in zip(*rows, strict=True)
            )
        self._unlock(lock, [last_sequences, live, dead, buckets])
        return {
            "format": tf.constant([FORMAT], tf.int64),
            "export_id": tf.constant([self._export_id], tf.int64),
            "generations": tf.constant([self._generations], tf.int64),
            "last_sequences": last_sequences[None],
            "live_rows": live,
            "dead_rows": dead,
            "buckets": buckets,
        }

    def _lock(self) -> tf.Tensor:
        # A SavedModel does not support tf.CriticalSection, but named mutexes.
        mutex = tf.raw_ops.MutexV2(shared_name=self._mutex_name)
        return tf.raw_ops.MutexLock(mutex=mutex)

    def _unlock(self, lock: tf.Tensor, after: Sequence[tf.Tensor]) -> None:
        with tf.control_dependencies(list(after)):
            tf.raw_ops.ConsumeMutexLock(mutex_lock=lock)


def _apply_rows(table: ServingTable, ids, exists, rows) -> tf.Tensor:
    return tf.cond(
        tf.size(ids) > 0,
        lambda: table.apply(ids, exists, rows),
        lambda: tf.constant(0, tf.int64),
    )


def _true_after(operations: Sequence[tf.Operation]) -> tf.Tensor:
    with tf.control_dependencies(list(operations)):
        return tf.constant(True)
