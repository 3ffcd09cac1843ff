"""Times Keras fit of a DeepFM beside other embeddings, in one process.

    TF_USE_LEGACY_KERAS=1 python benchmarks/keras_fit.py [--batch=4096]

The model is a DeepFM over `--features` ids an example: rows of `--dim` floats,
the first of which is the weight of the id, the others its factors. Peers differ
in the embedding alone:

    collection   mt.layers.EmbeddingCollection, an input and a table a feature
    monolith     mt.layers.DynamicEmbedding, all features in one table
    static       tf_keras.layers.Embedding, all features in one variable; the
                 ids are row numbers
    tfra         TFRA's BasicEmbedding, all features in one table (when it is
                 installed)

All train by Adagrad, on the same batches. Each peer runs `fit` over `--steps`
batches in its turn, `--rounds` times; before, every batch was seen once, so
that all rows are there. Figures are medians; ratios compare rounds.

Last, TensorFlow's profiler watches some steps of `--profile`, and the time that
its ops took is printed by kind. Then one line of JSON.
"""

from __future__ import annotations

import collections
import glob
import os
import statistics
import tempfile
from collections.abc import Callable
from collections.abc import Sequence

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import common  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
import tf_keras  # noqa: E402
from absl import app  # noqa: E402
from absl import flags  # noqa: E402
from tensorflow.python.framework import op_def_registry  # noqa: E402

import monolith_tf as mt  # noqa: E402

_FEATURES = flags.DEFINE_integer(
    "features", 26, "Ids an example.", lower_bound=1
)
_IDS = flags.DEFINE_integer(
    "ids", 100_000, "Different ids of a feature.", lower_bound=1
)
_ZIPF = flags.DEFINE_float(
    "zipf", 1.05, "Exponent of how often ids come; 0 for all alike."
)
_DIM = flags.DEFINE_integer("dim", 16, "Floats of a row.", lower_bound=2)
_HIDDEN = flags.DEFINE_list("hidden", ["128", "64"], "Units of the deep part.")
_BATCH = flags.DEFINE_integer("batch", 4096, "Examples a batch.", lower_bound=1)
_BATCHES = flags.DEFINE_integer(
    "batches", 50, "Different batches.", lower_bound=1
)
_STEPS = flags.DEFINE_integer("steps", 50, "Batches a turn.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 7, "Turns.", lower_bound=1)
_PEERS = flags.DEFINE_list(
    "peers", ["collection", "monolith", "static", "tfra"], "What to time."
)
_PROFILE = flags.DEFINE_string(
    "profile", "collection", "The peer to profile; empty for none."
)
_SEED = flags.DEFINE_integer("seed", 1, "Of ids and labels.")

_LEARNING_RATE = 0.01


def _adagrad():
    return tf_keras.optimizers.Adagrad(_LEARNING_RATE)


def _table(name: str) -> mt.TableConfig:
    return mt.TableConfig(
        name,
        dim=_DIM.value,
        optimizer=mt.optimizers.Adagrad(_LEARNING_RATE),
        initializer=mt.initializers.RandomUniform(-0.05, 0.05),
    )


def deepfm(inputs, rows: tf.Tensor, optimizer) -> tf_keras.Model:
    """Builds the model behind the embedding.

    Args:
        inputs: Keras inputs.
        rows: float32 `[batch, features * dim]`.
        optimizer: What `compile` gets.
    """
    features, dim = _FEATURES.value, _DIM.value
    by_feature = tf.reshape(rows, [-1, features, dim])
    first_order = tf.reduce_sum(by_feature[:, :, 0], axis=1, keepdims=True)
    total = tf.reduce_sum(by_feature, axis=1)
    squares = tf.reduce_sum(tf.square(by_feature), axis=1)
    pairs = 0.5 * tf.reduce_sum(
        (tf.square(total) - squares)[:, 1:], axis=1, keepdims=True
    )
    hidden = rows
    for units in _HIDDEN.value:
        hidden = tf_keras.layers.Dense(int(units), "relu")(hidden)
    logits = tf_keras.layers.Dense(1)(hidden) + first_order + pairs
    model = tf_keras.Model(inputs, logits)
    model.compile(
        optimizer, tf_keras.losses.BinaryCrossentropy(from_logits=True)
    )
    return model


def _stacked(embedding, optimizer) -> tf_keras.Model:
    """A model whose input has all ids of an example."""
    features, dim = _FEATURES.value, _DIM.value
    ids = tf_keras.Input([features], dtype="int64", name="ids")
    rows = tf_keras.layers.Reshape([features * dim])(embedding(ids))
    return deepfm(ids, rows, optimizer)


def collection() -> tf_keras.Model:
    """An input and a table a feature."""
    names = [f"feature_{number:02}" for number in range(_FEATURES.value)]
    with mt.TableSet():
        layer = mt.layers.EmbeddingCollection(
            [mt.Feature(name, _table(name)) for name in names]
        )
    inputs = {
        name: tf_keras.Input([], dtype="int64", name=name) for name in names
    }
    vectors = layer(inputs)
    rows = [vectors[name] for name in names]
    return deepfm(
        inputs,
        tf.concat(rows, axis=1) if len(rows) > 1 else rows[0],
        mt.optimizers.with_tables(_adagrad()),
    )


def monolith() -> tf_keras.Model:
    """All features in one table."""
    with mt.TableSet():
        embedding = mt.layers.DynamicEmbedding(_table("ids"))
    return _stacked(embedding, mt.optimizers.with_tables(_adagrad()))


def static() -> tf_keras.Model:
    """All features in one variable."""
    return _stacked(
        tf_keras.layers.Embedding(_FEATURES.value * _IDS.value, _DIM.value),
        _adagrad(),
    )


def tfra() -> tf_keras.Model:
    """All features in one table of TFRA's.

    Raises:
        ImportError: TFRA is not installed, or not for this TensorFlow.
    """
    import tensorflow_recommenders_addons as addons

    de = addons.dynamic_embedding
    embedding = de.keras.layers.embedding.BasicEmbedding(
        _DIM.value,
        key_dtype=tf.int64,
        value_dtype=tf.float32,
        initializer=tf_keras.initializers.RandomUniform(-0.05, 0.05),
        init_capacity=_FEATURES.value * _IDS.value,
        devices=["CPU:0"],
        name="keras_fit",
    )
    # Slots of its new-style optimizers start at 0.
    return _stacked(
        embedding,
        de.DynamicEmbeddingOptimizer(
            tf_keras.optimizers.legacy.Adagrad(_LEARNING_RATE)
        ),
    )


def batches_of(numbers: np.ndarray, labels: np.ndarray, peer: str):
    """The dataset of a peer.

    Args:
        numbers: int64 `[batches, batch, features]`, ids of each feature counted
            from 0.
        labels: float32 `[batches, batch, 1]`.
        peer: Its name.

    Returns:
        Endless `tf.data.Dataset` of (ids, labels).
    """
    rows = numbers + np.arange(_FEATURES.value) * _IDS.value
    ids = rows if peer == "static" else common.spread(rows)
    if peer == "collection":
        ids = {
            f"feature_{number:02}": np.ascontiguousarray(ids[:, :, number])
            for number in range(_FEATURES.value)
        }
    dataset = tf.data.Dataset.from_tensor_slices((ids, labels))
    options = tf.data.Options()
    # Its thread sleeps for 10, 20, 40 ms and so on, and the end of a fit waits
    # for it to wake: every turn would take 0.01 * (2^k - 1) seconds.
    options.autotune.enabled = False
    return dataset.repeat().prefetch(2).with_options(options)


def profile(run: Callable[[], object]) -> dict[str, float]:
    """Returns the milliseconds that ops took in all, by kind, longest first.

    Ops run side by side, so they may take longer in all than the clock says.

    Args:
        run: What to watch.
    """
    # In TensorFlow's wheel, but not of its API.
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            run()
        (path,) = glob.glob(f"{folder}/**/*.xplane.pb", recursive=True)
        space = xplane_pb2.XSpace()
        with open(path, "rb") as file:
            space.ParseFromString(file.read())
    milliseconds = collections.Counter()
    for plane in space.planes:
        if plane.name != "/host:CPU":
            continue
        for line in plane.lines:
            for event in line.events:
                metadata = plane.event_metadata[event.metadata_id]
                # Ops are "name:kind".
                name, _, kind = metadata.name.rpartition(":")
                if name and _is_op(kind):
                    milliseconds[kind] += event.duration_ps / 1e9
    return dict(milliseconds.most_common())


def _is_op(kind: str) -> bool:
    """Whether that is an op's kind, not one of a dataset or of the runtime."""
    known = op_def_registry.get(kind)
    return known is not None and not kind.endswith("Dataset")


def main(argv: Sequence[str]) -> None:
    """Builds the peers, lets them take turns, profiles one."""
    if len(argv) > 1:
        raise app.UsageError(f"Takes flags only. Received: {argv[1:]}")
    random = np.random.default_rng(_SEED.value)
    shape = (_BATCHES.value, _BATCH.value, _FEATURES.value)
    numbers = common.zipf(random, _IDS.value, _ZIPF.value, shape)
    labels = random.integers(0, 2, (*shape[:2], 1)).astype(np.float32)
    makers = {
        maker.__name__: maker for maker in (collection, monolith, static, tfra)
    }
    fits = {}
    for name in _PEERS.value:
        if name not in makers:
            raise app.UsageError(
                f"--peers are {list(makers)}. Received: {name}."
            )
        try:
            model = makers[name]()
        except (ImportError, tf.errors.NotFoundError) as error:
            print(f"Without {name}: {error}")
            continue
        dataset = batches_of(numbers, labels, name)

        def fit(steps, model=model, dataset=dataset):
            model.fit(dataset, steps_per_epoch=steps, verbose=0)

        fit(_BATCHES.value)
        fits[name] = fit

    seconds = common.take_turns(
        {name: lambda fit=fit: fit(_STEPS.value) for name, fit in fits.items()},
        _ROUNDS.value,
    )
    examples = _STEPS.value * _BATCH.value
    rates = {
        name: examples / statistics.median(times)
        for name, times in seconds.items()
    }
    rows = [["peer", "examples/s", "ms a step"]]
    for name, rate in rates.items():
        rows.append([name, f"{rate:,.0f}", f"{1e3 * _BATCH.value / rate:.2f}"])
    common.print_table("Keras fit, medians", rows)
    compared = {
        f"{ours}/{peer}": [
            round(r, 3) for r in common.ratios(seconds, ours, peer)
        ]
        for ours in ("collection", "monolith")
        for peer in ("tfra", "static")
        if ours in seconds and peer in seconds
    }
    common.print_table(
        "Ratios of rounds",
        [["", "median", "least", "most"]]
        + [[name, *values] for name, values in compared.items()],
    )
    took = {}
    if _PROFILE.value in fits:
        steps = 20
        took = {
            kind: round(milliseconds / steps, 3)
            for kind, milliseconds in profile(
                lambda: fits[_PROFILE.value](steps)
            ).items()
        }
        common.print_table(
            f"Ops of {_PROFILE.value}, ms a step",
            [["op", "ms"]]
            + [[k, f"{v:.3f}"] for k, v in list(took.items())[:20]],
        )
    common.print_json(
        {
            "features": _FEATURES.value,
            "ids": _IDS.value,
            "zipf": _ZIPF.value,
            "dim": _DIM.value,
            "hidden": [int(units) for units in _HIDDEN.value],
            "batch": _BATCH.value,
            "steps": _STEPS.value,
            "rounds": _ROUNDS.value,
            "seed": _SEED.value,
            "tensorflow": tf.__version__,
            "examples_per_second": {k: round(v) for k, v in rates.items()},
            "ratios": compared,
            "profile_ms": took,
        }
    )


if __name__ == "__main__":
    app.run(main)
