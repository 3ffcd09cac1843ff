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

import os
import statistics
from collections.abc import Sequence

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import common  # noqa: E402
import deepfm  # noqa: E402
import numpy as np  # noqa: E402
import op_profile  # noqa: E402
import tensorflow as tf  # noqa: E402
from absl import app  # noqa: E402
from absl import flags  # noqa: E402

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


def batches_of(
    shape: deepfm.DeepFM, numbers: np.ndarray, labels: np.ndarray, peer: str
):
    """The dataset of a peer.

    Args:
        shape: Of the model.
        numbers: int64 `[batches, batch, features]`, ids of each feature counted
            from 0.
        labels: float32 `[batches, batch, 1]`.
        peer: Its name.

    Returns:
        Endless `tf.data.Dataset` of (ids, labels).
    """
    ids = shape.ids_for(peer, numbers)
    if peer == "collection":
        ids = {
            name: np.ascontiguousarray(ids[:, :, number])
            for number, name in enumerate(shape.feature_names)
        }
    dataset = tf.data.Dataset.from_tensor_slices((ids, labels))
    options = tf.data.Options()
    # Its thread sleeps for 10, 20, 40 ms and so on, and the end of a fit waits
    # for it to wake: every turn would take 0.01 * (2^k - 1) seconds.
    options.autotune.enabled = False
    return dataset.repeat().prefetch(2).with_options(options)


def main(argv: Sequence[str]) -> None:
    """Builds the peers, lets them take turns, profiles one."""
    if len(argv) > 1:
        raise app.UsageError(f"Takes flags only. Received: {argv[1:]}")
    random = np.random.default_rng(_SEED.value)
    shape = (_BATCHES.value, _BATCH.value, _FEATURES.value)
    numbers = common.zipf(random, _IDS.value, _ZIPF.value, shape)
    labels = random.integers(0, 2, (*shape[:2], 1)).astype(np.float32)
    makers = deepfm.PEERS
    model_shape = deepfm.DeepFM(
        features=_FEATURES.value,
        ids=_IDS.value,
        dim=_DIM.value,
        hidden=tuple(int(units) for units in _HIDDEN.value),
    )
    fits = {}
    for name in _PEERS.value:
        if name not in makers:
            raise app.UsageError(
                f"--peers are {list(makers)}. Received: {name}."
            )
        try:
            model = model_shape.make(name)
        except (ImportError, tf.errors.NotFoundError) as error:
            print(f"Without {name}: {error}")
            continue
        dataset = batches_of(model_shape, numbers, labels, name)

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
            for kind, milliseconds in op_profile.profile(
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
