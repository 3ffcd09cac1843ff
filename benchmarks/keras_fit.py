"""Times Keras fit of a DeepFM with different embeddings, in one process.

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
import deepfm_flags  # noqa: E402
import numpy as np  # noqa: E402
import op_profile  # noqa: E402
import tensorflow as tf  # noqa: E402
from absl import app  # noqa: E402
from absl import flags  # noqa: E402

_ROUNDS = flags.DEFINE_integer("rounds", 7, "Turns.", lower_bound=1)
_PEERS = flags.DEFINE_list(
    "peers", ["collection", "monolith", "static", "tfra"], "What to time."
)
_PROFILE = flags.DEFINE_string(
    "profile", "collection", "The peer to profile; empty for none."
)


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
    """Builds the peers, runs them in turns, profiles one."""
    if len(argv) > 1:
        raise app.UsageError(f"Takes flags only. Received: {argv[1:]}")
    makers = deepfm.PEERS
    model_shape = deepfm_flags.model()
    numbers, labels = deepfm_flags.make_batches()
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

        fit(deepfm_flags.BATCHES.value)
        fits[name] = fit

    seconds = common.take_turns(
        {
            name: lambda fit=fit: fit(deepfm_flags.STEPS.value)
            for name, fit in fits.items()
        },
        _ROUNDS.value,
    )
    examples = deepfm_flags.STEPS.value * deepfm_flags.BATCH.value
    rates = {
        name: examples / statistics.median(times)
        for name, times in seconds.items()
    }
    rows = [["peer", "examples/s", "ms per step"]]
    for name, rate in rates.items():
        rows.append(
            [
                name,
                f"{rate:,.0f}",
                f"{1e3 * deepfm_flags.BATCH.value / rate:.2f}",
            ]
        )
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
        watched = 20
        took = {
            kind: round(milliseconds / watched, 3)
            for kind, milliseconds in op_profile.profile(
                lambda: fits[_PROFILE.value](watched)
            ).items()
        }
        common.print_table(
            f"Ops of {_PROFILE.value}, ms per step",
            [["op", "ms"]]
            + [[k, f"{v:.3f}"] for k, v in list(took.items())[:20]],
        )
    common.print_json(
        {
            **deepfm_flags.record(),
            "rounds": _ROUNDS.value,
            "tensorflow": tf.__version__,
            "examples_per_second": {k: round(v) for k, v in rates.items()},
            "ratios": compared,
            "profile_ms": took,
        }
    )


if __name__ == "__main__":
    app.run(main)
