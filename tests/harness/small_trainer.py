"""A model over two tables that changes on demand, for deliveries."""

import dataclasses
import functools

import numpy as np
import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf.serving import export_saved_model


@dataclasses.dataclass
class Trainer:
    """A model over two tables on two shards."""

    model: tf_keras.Model
    tables: dict
    # A `history.Recorder` of the changes, or None.
    recorder: object = None

    def change(self, seed, num_ids=64):
        """Rows, a tombstone and a dense variable change."""
        random = np.random.default_rng(seed)
        for name, table in self.tables.items():
            ids = random.choice(500, num_ids, replace=False).astype(np.int64)
            rows = random.normal(size=(num_ids, table.dim)).astype(np.float32)
            self._update(name, ids, rows.tolist(), table.assign, ids, rows)
            self._update(name, ids[:3], [None] * 3, table.remove, ids[:3])
        kernel = self.model.layers[-1].kernel
        kernel.assign_add(tf.fill(kernel.shape, 0.5))

    def _update(self, name, ids, values, method, *arguments):
        change = functools.partial(method, *map(tf.constant, arguments))
        if self.recorder is None:
            change()
        else:
            self.recorder.update(name, ids, values, change)

    def rows(self, num_ids):
        """Returns the row of each id from 0 by table, None for no row."""
        found = {}
        for name, table in self.tables.items():
            ids = tf.range(num_ids, dtype=tf.int64)
            rows, exists = table.lookup_with_exists(ids)
            found[name] = [
                row.tolist() if there else None
                for row, there in zip(rows.numpy(), exists.numpy(), strict=True)
            ]
        return found

    def export(self, directory):
        return export_saved_model(self.model, directory, expected_rows=2000)


def make_small_trainer(num_shards=2):
    """A trainer with tables of its own."""
    with mt.TableSet(num_shards=num_shards):
        inputs, vectors, tables = {}, [], {}
        for name, dim in (("movie", 3), ("user", 2)):
            config = mt.TableConfig(
                name,
                dim=dim,
                optimizer=mt.optimizers.Adagrad(learning_rate=0.1),
                initializer=mt.initializers.RandomUniform(-0.1, 0.1),
                seed=dim,
            )
            layer = mt.layers.DynamicEmbedding(config)
            inputs[name] = tf_keras.Input([], dtype="int64", name=name)
            vectors.append(layer(inputs[name]))
            tables[name] = layer.tables[0]
        joined = tf_keras.layers.Concatenate()(vectors)
        score = tf_keras.layers.Dense(1, name="score")(joined)
        return Trainer(tf_keras.Model(inputs, {"score": score}), tables)
