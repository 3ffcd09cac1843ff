"""Times the table ops beside their peers, batch by batch in one process.

    TF_USE_LEGACY_KERAS=1 python benchmarks/raw_ops.py [--ids=10000000]

Peers: `MonolithLookup` and `MonolithApply` on packed ids (raw), `mt.Table` as
a user calls it (table), TFRA's `dynamic_embedding.get_variable` (tfra, when it
is installed), and a dense variable with tf.gather and
ResourceSparseApplyAdagradV2 (dense). Each is one tf.function over the same
batches, ids uniform and all present but for `insert`. The peers take turns at
every batch, the first one changing, so that what else the machine does meets
all alike; figures are medians. Threads are TensorFlow's own for all.

`step` is a lookup and an Adagrad step of the same ids with given gradients. Raw
ops, TFRA and dense do not sum the gradients of equal ids, `mt.Table` does.

Prints a table, and last one line of JSON.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable
from collections.abc import Sequence

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import common  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from absl import app  # noqa: E402
from absl import flags  # noqa: E402

import monolith_tf as mt  # noqa: E402
from monolith_tf import ops  # noqa: E402

_IDS = flags.DEFINE_integer(
    "ids", 2_000_000, "Rows of every table.", lower_bound=1
)
_DIM = flags.DEFINE_integer("dim", 16, "Floats of a row.", lower_bound=1)
_BATCH = flags.DEFINE_integer("batch", 131_072, "Ids a batch.", lower_bound=1)
_BATCHES = flags.DEFINE_integer(
    "batches", 31, "Timed batches of each peer and work.", lower_bound=1
)
_SEED = flags.DEFINE_integer("seed", 1, "Of the ids.")

_LEARNING_RATE = 0.01
_ACCUMULATOR = 0.1
_EPSILON = 1e-7

Batch = tuple[tf.Tensor, tf.Tensor]  # ids [n] int64, rows [n, dim] float32
Work = dict[str, Callable[[tf.Tensor, tf.Tensor], object]]


def _function(dim: int):
    """Compiles a peer's work once, for batches of any length."""
    return tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.int64),
            tf.TensorSpec([None, dim], tf.float32),
        ]
    )


class Monolith:
    """The ops, alone and behind `mt.Table`."""

    def __init__(self, dim: int, num_rows: int):
        """Makes an empty table; it grows by itself."""
        del num_rows
        table_set = mt.TableSet()
        with table_set:
            table = mt.Table(
                mt.TableConfig(
                    "raw_ops",
                    dim=dim,
                    optimizer=mt.optimizers.Adagrad(
                        _LEARNING_RATE,
                        initial_accumulator_value=_ACCUMULATOR,
                        epsilon=_EPSILON,
                    ),
                )
            )
        handle = table_set.handles[0]
        names = {"tables": ["raw_ops"], "dims": [dim]}

        def raw_lookup(ids):
            count = tf.shape(ids, tf.int64)
            return ops.lookup(handle, tf.concat([count, ids], 0), **names)

        @_function(dim)
        def raw(ids, rows):
            del rows
            return raw_lookup(ids)

        @_function(dim)
        def raw_step(ids, gradients):
            looked_up = raw_lookup(ids)
            count = tf.shape(ids, tf.int64)
            one = tf.ones([1], tf.int64)
            with tf.control_dependencies([looked_up]):
                ops.apply(
                    handle,
                    tf.concat([one, one, count, ids, tf.ones_like(ids)], 0),
                    tf.concat(
                        [[_LEARNING_RATE], tf.reshape(gradients, [-1])], 0
                    ),
                    **names,
                )
            return looked_up

        @_function(dim)
        def lookup(ids, rows):
            del rows
            return table.lookup(ids)

        @_function(dim)
        def step(ids, gradients):
            looked_up = table.lookup(ids)
            with tf.control_dependencies([looked_up]):
                table.apply_gradients(ids, gradients, step=0)
            return looked_up

        @_function(dim)
        def insert(ids, rows):
            ops.assign(handle, ids, rows, table="raw_ops")

        self.table = table
        self.raw_lookup = raw
        self.raw_step = raw_step
        self.lookup = lookup
        self.step = step
        self.insert = insert


class Tfra:
    """TFRA's CuckooHashTable on the CPU."""

    def __init__(self, dim: int, num_rows: int):
        """Makes an empty variable with room for the rows.

        Raises:
            ImportError: TFRA is not installed, or not for this TensorFlow.
        """
        import tensorflow_recommenders_addons as tfra
        import tf_keras

        de = tfra.dynamic_embedding
        variable = de.get_variable(
            "raw_ops",
            key_dtype=tf.int64,
            value_dtype=tf.float32,
            dim=dim,
            devices=["CPU:0"],
            initializer=0.0,
            init_size=num_rows,
        )
        # What TFRA's Keras layers use inside a tf.function.
        shadow = de.shadow_ops.ShadowVariable(variable, name="raw_ops_shadow")
        optimizer = de.DynamicEmbeddingOptimizer(
            tf_keras.optimizers.legacy.Adagrad(
                _LEARNING_RATE,
                initial_accumulator_value=_ACCUMULATOR,
                epsilon=_EPSILON,
            )
        )

        @_function(dim)
        def lookup(ids, rows):
            del rows
            return variable.lookup(ids)

        @_function(dim)
        def step(ids, gradients):
            looked_up = de.shadow_ops.embedding_lookup(shadow, ids)
            with tf.control_dependencies([looked_up]):
                optimizer.apply_gradients([(gradients, shadow)])
            return looked_up

        @_function(dim)
        def insert(ids, rows):
            variable.upsert(ids, rows)

        self.lookup = lookup
        self.step = step
        self.insert = insert


class Dense:
    """A variable whose rows are numbered: the id is the number."""

    def __init__(self, dim: int, num_rows: int):
        """Makes the variable and its accumulator."""
        weights = tf.Variable(tf.zeros([num_rows, dim]))
        accumulator = tf.Variable(tf.fill([num_rows, dim], _ACCUMULATOR))

        @_function(dim)
        def lookup(ids, rows):
            del rows
            return tf.gather(weights, ids)

        @_function(dim)
        def step(ids, gradients):
            looked_up = tf.gather(weights, ids)
            with tf.control_dependencies([looked_up]):
                tf.raw_ops.ResourceSparseApplyAdagradV2(
                    var=weights.handle,
                    accum=accumulator.handle,
                    lr=_LEARNING_RATE,
                    epsilon=_EPSILON,
                    grad=gradients,
                    indices=ids,
                )
            return looked_up

        self.lookup = lookup
        self.step = step


def measure(
    work: Work, batches: Sequence[tuple[Batch, Batch]]
) -> dict[str, list[float]]:
    """Runs every peer on every batch; returns the seconds of each.

    Args:
        work: What each peer does, by name; "dense" gets row numbers.
        batches: (ids, rows) for the hash tables and for dense.
    """
    seconds = {name: [] for name in work}
    names = list(work)
    for turn, (spread_batch, dense_batch) in enumerate(batches):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            batch = dense_batch if name == "dense" else spread_batch
            begin = time.perf_counter()
            # A function without an accelerator has run when it returns.
            work[name](*batch)
            seconds[name].append(time.perf_counter() - begin)
    return seconds


def summarize(seconds: dict[str, list[float]], batch: int) -> dict:
    """Turns seconds into millions of ids a second, and ratios to peers."""
    rates = {
        name: batch / statistics.median(times) / 1e6
        for name, times in seconds.items()
    }
    return {
        "millions_of_ids_per_second": {
            name: round(rate, 3) for name, rate in rates.items()
        },
        "worst_batch_seconds": {
            name: round(max(times), 5) for name, times in seconds.items()
        },
        "ratios": {
            f"{ours}/{peer}": round(rates[ours] / rates[peer], 3)
            for ours in ("raw", "table")
            for peer in ("tfra", "dense")
            if ours in rates and peer in rates
        },
    }


def _print_work(name: str, summary: dict) -> None:
    print(f"{name}, millions of ids a second")
    for peer, rate in summary["millions_of_ids_per_second"].items():
        worst = 1e3 * summary["worst_batch_seconds"][peer]
        print(f"  {peer:<6} {rate:8.2f}   worst batch {worst:8.1f} ms")
    for ratio, value in summary["ratios"].items():
        print(f"  {ratio:<12} {value:8.2f}x")


def main(argv: Sequence[str]) -> None:
    """Fills the tables, then measures lookup, step and insert."""
    if len(argv) > 1:
        raise app.UsageError(f"Takes flags only. Received: {argv[1:]}")
    num_rows, dim, batch = _IDS.value, _DIM.value, _BATCH.value
    random = np.random.default_rng(_SEED.value)
    rows = tf.constant(random.normal(0, 0.01, [batch, dim]), tf.float32)

    def batch_of(numbers: np.ndarray) -> tuple[Batch, Batch]:
        given = rows[: len(numbers)]
        return (
            (tf.constant(common.spread(numbers)), given),
            (tf.constant(numbers), given),
        )

    def uniform() -> list[tuple[Batch, Batch]]:
        return [
            batch_of(random.integers(0, num_rows, batch))
            for _ in range(_BATCHES.value)
        ]

    monolith = Monolith(dim, num_rows)
    dense = Dense(dim, num_rows)
    peers = {"raw": monolith, "tfra": None, "dense": dense}
    try:
        peers["tfra"] = Tfra(dim, num_rows)
    except (ImportError, tf.errors.NotFoundError) as error:
        print(f"Without TFRA: {error}")
        del peers["tfra"]

    steps: Work = {name: peer.step for name, peer in peers.items()}
    steps["raw"] = monolith.raw_step
    steps["table"] = monolith.step
    lookups: Work = {name: peer.lookup for name, peer in peers.items()}
    lookups["raw"] = monolith.raw_lookup
    lookups["table"] = monolith.lookup
    inserts: Work = {
        name: peer.insert for name, peer in peers.items() if name != "dense"
    }

    # Steps make the rows and slots of all ids before anything is timed.
    fill = [
        batch_of(np.arange(begin, min(begin + batch, num_rows)))
        for begin in range(0, num_rows, batch)
    ]
    measure({name: steps[name] for name in peers}, fill)
    measure(lookups, uniform()[:3])
    measure(steps, uniform()[:3])

    new = [
        batch_of(np.arange(begin, begin + batch))
        for begin in range(num_rows, num_rows + _BATCHES.value * batch, batch)
    ]
    results = {}
    for name, work, batches in (
        ("lookup", lookups, uniform()),
        ("step", steps, uniform()),
        ("insert", inserts, new),
    ):
        results[name] = summarize(measure(work, batches), batch)
        _print_work(name, results[name])
    print(
        json.dumps(
            {
                "ids": num_rows,
                "dim": dim,
                "batch": batch,
                "batches": _BATCHES.value,
                "seed": _SEED.value,
                "threads": os.cpu_count(),
                "tensorflow": tf.__version__,
                "results": results,
            }
        )
    )


if __name__ == "__main__":
    app.run(main)
