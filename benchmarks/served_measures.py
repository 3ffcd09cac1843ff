"""Measurements of benchmarks/served_memory.py, one process each."""

from __future__ import annotations

import os
import statistics
import time

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import common  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
import tf_keras  # noqa: E402

import monolith_tf as mt  # noqa: E402

PRECISIONS = {
    "float32": mt.precisions.Float32(),
    "bfloat16": mt.precisions.BFloat16(),
    "float16": mt.precisions.Float16(),
    "int8": mt.precisions.Int8(range=1.0),
    "onebit": mt.precisions.OneBit(amplitude=0.5, anneal_steps=1),
}
_CHUNK = 1 << 17


class Trainer:
    """A model with one table, and its export.

    Args:
        precision: Of `PRECISIONS`.
        rows: How many rows the table has.
        dim: Length of a row.
    """

    def __init__(self, precision: str, rows: int, dim: int):
        """Fills the table."""
        config = mt.TableConfig(
            "table",
            dim=dim,
            optimizer=mt.optimizers.SGD(0.1),
            precision=PRECISIONS[precision],
        )
        ids = tf_keras.Input([], dtype="int64", name="ids")
        layer = mt.layers.DynamicEmbedding(config)
        self._rows = rows
        self._model = tf_keras.Model(ids, {"rows": layer(ids)})
        random = np.random.default_rng(1)
        for begin in range(0, rows, _CHUNK):
            ids = common.spread(np.arange(begin, min(begin + _CHUNK, rows)))
            weights = random.normal(scale=0.3, size=[len(ids), dim])
            layer.table.assign(ids, weights.astype(np.float32))
        # A step after the end of annealing.
        layer.table.apply_gradients(ids[:1], np.zeros([1, dim], np.float32))

    def export(self, directory: str) -> dict:
        """Writes an export.

        Returns:
            Its path, how rows are stored, the bytes of all its files, and the
            seconds it took.
        """
        begin = time.perf_counter()
        record = mt.serving.export_saved_model(
            self._model, directory, expected_rows=self._rows
        )
        seconds = time.perf_counter() - begin
        sizes = [
            os.path.getsize(os.path.join(folder, name))
            for folder, _, names in os.walk(record.path)
            for name in names
        ]
        return {
            "path": record.path,
            "stored": record.tables[0]["stored"],
            "buckets": record.tables[0]["buckets"],
            "export_bytes": sum(sizes),
            "export_seconds": seconds,
        }


class Server:
    """A loaded export, as stock TensorFlow runs it."""

    def load(self, path: str) -> dict:
        """Loads an export.

        Returns:
            The seconds it took, and the resident bytes that came.
        """
        before = common.resident_bytes()
        begin = time.perf_counter()
        self._loaded = tf.saved_model.load(path)
        return {
            "load_seconds": time.perf_counter() - begin,
            "resident_bytes": common.resident_bytes() - before,
        }

    def lookups(self, rows: int, batch: int, repeats: int) -> list[float]:
        """Times lookups of random ids that have rows.

        Returns:
            Median and 99th percentile, in milliseconds.
        """
        random = np.random.default_rng(2)
        lookup = self._loaded.signatures["monolith_lookup_0"]
        milliseconds = []
        for _ in range(repeats + 10):
            ids = tf.constant(common.spread(random.integers(0, rows, batch)))
            begin = time.perf_counter()
            found = lookup(ids=ids)
            found["rows"].numpy()
            milliseconds.append(1e3 * (time.perf_counter() - begin))
        if not found["exists"].numpy().all():
            raise RuntimeError("ids that have rows are not live")
        milliseconds = milliseconds[10:]
        return [
            statistics.median(milliseconds),
            float(np.percentile(milliseconds, 99)),
        ]
