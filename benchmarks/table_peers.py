"""Peers of `benchmarks/table.py`: mt.Table, TFRA, dense TensorFlow, Keras.

A peer does works, each a `tf.function`. Rows are numbered; `arguments` makes of
numbers what the functions of the peer take, outside of the time that counts.

    lookup  reads rows
    update  one optimizer step of distinct ids with given gradients
    step    a lookup and an update of the same distinct ids
    insert  writes rows of new ids
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable

import common
import numpy as np
import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf import ops
from monolith_tf.placement.table_set import servers_of

LEARNING_RATE = 0.01
ACCUMULATOR = 0.1
EPSILON = 1e-7
SLOTS = {"sgd": 0, "adagrad": 1, "adam": 2}

Work = Callable[..., object]


def row_optimizer(kind: str) -> mt.optimizers.RowOptimizer:
    """Returns the optimizer of a table.

    Args:
        kind: Of `SLOTS`.
    """
    if kind == "adagrad":
        return mt.optimizers.Adagrad(
            LEARNING_RATE,
            initial_accumulator_value=ACCUMULATOR,
            epsilon=EPSILON,
        )
    if kind == "adam":
        return mt.optimizers.Adam(LEARNING_RATE, epsilon=EPSILON)
    return mt.optimizers.SGD(LEARNING_RATE)


def _keras_optimizer(kind: str, home):
    """The same optimizer of tf_keras.optimizers or its legacy module."""
    if kind == "adagrad":
        return home.Adagrad(
            LEARNING_RATE,
            initial_accumulator_value=ACCUMULATOR,
            epsilon=EPSILON,
        )
    if kind == "adam":
        return home.Adam(LEARNING_RATE, epsilon=EPSILON)
    return home.SGD(LEARNING_RATE)


def function(dim: int):
    """Compiles a work once, for ids [n] and rows [n, dim] of any length."""
    return tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.int64),
            tf.TensorSpec([None, dim], tf.float32),
        ]
    )


def ids_of(numbers: np.ndarray) -> np.ndarray:
    """Maps row numbers to ids; -1 and below have no row."""
    return np.where(
        numbers >= 0,
        common.spread(numbers),
        common.spread_absent(-1 - numbers),
    )


class Peer:
    """Base class of all peers."""

    works: dict[str, Work]

    def arguments(self, work: str, numbers: np.ndarray, rows: tf.Tensor):
        """Returns what `works[work]` takes.

        Args:
            work: Which work.
            numbers: int64 `[n]`, numbers of rows.
            rows: float32 `[n, dim]`, gradients or rows to write.
        """
        del work
        return tf.constant(ids_of(numbers)), rows


class Table(Peer):
    """`mt.Table` as a user calls it."""

    def __init__(
        self,
        dim: int,
        optimizer: str,
        tracks_changes: bool = True,
        capacity: int = 0,
    ):
        """Makes an empty table with room for `capacity` rows; it grows."""
        self.table_set = mt.TableSet()
        with self.table_set:
            self.table = mt.Table(
                mt.TableConfig(
                    "benchmark",
                    dim=dim,
                    optimizer=row_optimizer(optimizer),
                    tracks_changes=tracks_changes,
                    initial_capacity=capacity,
                )
            )

        @function(dim)
        def lookup(ids, rows):
            del rows
            return self.table.lookup(ids)

        @function(dim)
        def update(ids, gradients):
            self.table.apply_gradients(ids, gradients, step=0)

        @function(dim)
        def step(ids, gradients):
            looked_up = self.table.lookup(ids)
            with tf.control_dependencies([looked_up]):
                self.table.apply_gradients(ids, gradients, step=0)
            return looked_up

        # Raw inserts: in one table, ids are new only once.
        self.works = {"lookup": lookup, "update": update, "step": step}


class Raw(Peer):
    """The ops on the table of a `Table`, with the requests that a server gets.

    That is the ids with their number in front, and gradients behind the
    learning rate; no duplicates are looked for.
    """

    def __init__(self, table: Table):
        """Takes the table of the other peer."""
        dim = table.table.dim
        handle = servers_of(table.table_set)[0].handle
        names = {"tables": ["benchmark"], "dims": [dim]}
        int64 = tf.TensorSpec([None], tf.int64)
        float32 = tf.TensorSpec([None], tf.float32)

        @tf.function(input_signature=[int64])
        def lookup(packed):
            return ops.lookup(handle, packed, **names)

        @tf.function(input_signature=[int64, float32])
        def update(packed, values):
            ops.apply(handle, packed, values, **names)

        @tf.function(input_signature=[int64, int64, float32])
        def step(wanted, packed, values):
            looked_up = ops.lookup(handle, wanted, **names)
            with tf.control_dependencies([looked_up]):
                ops.apply(handle, packed, values, **names)
            return looked_up

        @function(dim)
        def insert(ids, rows):
            ops.assign(
                handle, ids, rows, tf.constant(1, tf.int64), table="benchmark"
            )

        self.works = {
            "lookup": lookup,
            "update": update,
            "step": step,
            "insert": insert,
        }
        self._values = (None, None)

    def arguments(self, work: str, numbers: np.ndarray, rows: tf.Tensor):
        """Builds requests of ids and gradients as the worker's ops do."""
        if work == "insert":
            return super().arguments(work, numbers, rows)
        ids = ids_of(numbers)
        wanted = tf.constant(np.concatenate([[len(ids)], ids]))
        if work == "lookup":
            return (wanted,)
        packed = tf.constant(
            np.concatenate([[1, 1, len(ids)], ids, np.ones_like(ids)])
        )
        # One copy for all batches with the same gradients.
        if self._values[0] is not rows:
            values = tf.concat([[LEARNING_RATE], tf.reshape(rows, [-1])], 0)
            self._values = (rows, values)
        values = self._values[1]
        return (wanted, packed, values) if work == "step" else (packed, values)


class Tfra(Peer):
    """TFRA's CuckooHashTable on the CPU, as its Keras layers use it."""

    def __init__(
        self,
        dim: int,
        optimizer: str,
        num_rows: int | None,
        name: str = "benchmark",
    ):
        """Makes an empty variable with room for the rows.

        Args:
            dim: Length of a row.
            optimizer: Kind of it.
            num_rows: Rows to make room for; None for what TFRA does itself.
            name: Unique in the process.

        Raises:
            ImportError: TFRA is not installed, or not for this TensorFlow.
        """
        with contextlib.redirect_stdout(io.StringIO()):
            import tensorflow_recommenders_addons as tfra

        de = tfra.dynamic_embedding
        self.variable = de.get_variable(
            name,
            key_dtype=tf.int64,
            value_dtype=tf.float32,
            dim=dim,
            devices=["CPU:0"],
            initializer=0.0,
            init_size=num_rows or 0,
        )
        shadow = de.shadow_ops.ShadowVariable(
            self.variable, name=f"{name}_shadow"
        )
        # Slots of its new-style Adagrad start at 0.
        keras_optimizer = de.DynamicEmbeddingOptimizer(
            _keras_optimizer(optimizer, tf_keras.optimizers.legacy)
        )

        @function(dim)
        def lookup(ids, rows):
            del rows
            return self.variable.lookup(ids)

        @function(dim)
        def step(ids, gradients):
            looked_up = de.shadow_ops.embedding_lookup(shadow, ids)
            with tf.control_dependencies([looked_up]):
                keras_optimizer.apply_gradients([(gradients, shadow)])
            return looked_up

        @function(dim)
        def insert(ids, rows):
            self.variable.upsert(ids, rows)

        # It updates only rows that it looked up before.
        self.works = {"lookup": lookup, "step": step, "insert": insert}


class Dense(Peer):
    """A dense variable: gather, a dense step, scatter."""

    def __init__(self, weights: tf.Variable, optimizer: str):
        """Takes the weights [num_rows, dim]; makes the slots.

        Args:
            weights: The variable.
            optimizer: Kind of it.
        """
        self.weights = weights
        shape = weights.shape
        self.slots = [
            tf.Variable(
                tf.fill(shape, ACCUMULATOR)
                if optimizer == "adagrad"
                else tf.zeros(shape)
            )
            for _ in range(SLOTS[optimizer])
        ]

        def make_step(ids, gradients):
            old = tf.gather(self.weights, ids)
            slots = [tf.gather(slot, ids) for slot in self.slots]
            new, slots = _dense_step(optimizer, old, slots, gradients)
            self.weights.scatter_update(tf.IndexedSlices(new, ids))
            for slot, rows in zip(self.slots, slots, strict=True):
                slot.scatter_update(tf.IndexedSlices(rows, ids))

        self.works = _works_of_variable(self.weights, make_step)

    def arguments(self, work: str, numbers: np.ndarray, rows: tf.Tensor):
        """Uses row numbers unchanged."""
        del work
        return tf.constant(numbers), rows


class SparseApply(Dense):
    """The same variable and slot, stepped by ResourceSparseApplyAdagradV2."""

    def __init__(self, dense: Dense):
        """Takes the variables of the other peer, whose optimizer is Adagrad."""

        def make_step(ids, gradients):
            tf.raw_ops.ResourceSparseApplyAdagradV2(
                var=dense.weights.handle,
                accum=dense.slots[0].handle,
                lr=LEARNING_RATE,
                epsilon=EPSILON,
                grad=gradients,
                indices=ids,
            )

        self.works = _works_of_variable(dense.weights, make_step)
        del self.works["lookup"]


class KerasEmbedding(Dense):
    """tf.keras.layers.Embedding and the optimizer of tf.keras."""

    def __init__(self, dim: int, optimizer: str, num_rows: int):
        """Makes the layer and the slots."""
        layer = tf_keras.layers.Embedding(num_rows, dim)
        layer.build(None)
        self.weights = layer.embeddings
        keras_optimizer = _keras_optimizer(optimizer, tf_keras.optimizers)
        keras_optimizer.build([self.weights])

        def make_step(ids, gradients):
            slices = tf.IndexedSlices(
                gradients, ids, tf.shape(self.weights, tf.int64)
            )
            keras_optimizer.apply_gradients([(slices, self.weights)])

        self.works = _works_of_variable(self.weights, make_step, layer)


def _dense_step(optimizer: str, old, slots, gradients):
    """Returns the weights and slots after a step of the equations."""
    if optimizer == "sgd":
        return old - LEARNING_RATE * gradients, slots
    if optimizer == "adagrad":
        total = slots[0] + tf.square(gradients)
        return (
            old - LEARNING_RATE * gradients / tf.sqrt(total + EPSILON),
            [total],
        )
    first = slots[0] + 0.1 * (gradients - slots[0])
    second = slots[1] + 0.001 * (tf.square(gradients) - slots[1])
    rate = LEARNING_RATE * tf.sqrt(tf.constant(0.001)) / 0.1
    return old - rate * first / (tf.sqrt(second) + EPSILON), [first, second]


def _works_of_variable(weights, make_step, look_up=None) -> dict[str, Work]:
    """Compiles lookup, update and step of a variable of rows."""
    if look_up is None:
        look_up = lambda ids: tf.gather(weights, ids)  # noqa: E731
    dim = weights.shape[1]

    @function(dim)
    def lookup(ids, rows):
        del rows
        return look_up(ids)

    @function(dim)
    def update(ids, gradients):
        make_step(ids, gradients)

    @function(dim)
    def step(ids, gradients):
        looked_up = look_up(ids)
        with tf.control_dependencies([looked_up]):
            make_step(ids, gradients)
        return looked_up

    return {"lookup": lookup, "update": update, "step": step}
