"""A long training on parameter servers, with everything that accompanies it.

    make soak ARGS="--minutes=10"

Two workers and two parameter servers train with Keras `fit`; at the end of
every epoch the model is evaluated and saved, and all the while deltas flow to a
model server. Ids come from a window that slides, and rows go when their time
has run out, so that after a first third nothing has a reason to grow. One JSON
line an epoch shows milliseconds a step, rows, bytes of the tables and resident
memory of every process.

It ends with 1 if in the last third of the time the median step took longer than
`--max_slowdown` times that of the middle third, or if a process grew by more
than `--max_growth_mib` above what its tables grew by; or if the model server
does not answer as the model does.
"""

from __future__ import annotations

import json
import os
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("GRPC_FAIL_FAST", "use_caller")

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
import tf_keras  # noqa: E402
from absl import app  # noqa: E402
from absl import flags  # noqa: E402
from absl import logging  # noqa: E402

import monolith_tf as mt  # noqa: E402
from monolith_tf.cluster.child_process import ChildProcess  # noqa: E402
from monolith_tf.cluster.ports import pick_free_ports  # noqa: E402

_MINUTES = flags.DEFINE_float("minutes", 10.0, "How long.", lower_bound=0.5)
_BESIDE = flags.DEFINE_list(
    "beside",
    ["evaluation", "checkpoints", "deltas"],
    "Work that runs during training.",
)
_STEPS = flags.DEFINE_integer("steps", 100, "Steps an epoch.", lower_bound=1)
_BATCH = flags.DEFINE_integer("batch", 1024, "Examples a step.", lower_bound=1)
_FEATURES = flags.DEFINE_integer("features", 8, "Ids an example.")
_TTL = flags.DEFINE_integer(
    "ttl_seconds", 30, "How long a row lives without an update."
)
_SLOWDOWN = flags.DEFINE_float(
    "max_slowdown", 1.25, "Of a step, between the last thirds."
)
_GROWTH = flags.DEFINE_integer(
    "max_growth_mib", 48, "Of a process, between the last thirds."
)
_MIB = 1 << 20


def make_dataset(context=None) -> tf.data.Dataset:
    """Endless batches; the window of ids moves with the clock."""
    del context
    batch, features = _BATCH.value, _FEATURES.value

    def make(_):
        newest = tf.cast(tf.timestamp() * 200.0, tf.int64)
        ids = newest - tf.random.uniform(
            [batch, features], maxval=20_000, dtype=tf.int64
        )
        labels = tf.cast(
            tf.reduce_sum(ids % 2, axis=1) > features // 2, tf.int64
        )
        return ids, labels[:, None]

    return tf.data.Dataset.range(10**12).map(make).prefetch(2)


def make_model() -> tf_keras.Model:
    """A small ranker over one table whose rows expire."""
    ids = tf_keras.Input([_FEATURES.value], dtype="int64", name="ids")
    rows = mt.layers.DynamicEmbedding(
        mt.TableConfig(
            "ids",
            16,
            optimizer=mt.optimizers.Adagrad(0.05),
            eviction=mt.Eviction(ttl_seconds=_TTL.value),
        )
    )(ids)
    hidden = tf_keras.layers.Dense(32, "relu")(tf_keras.layers.Flatten()(rows))
    model = tf_keras.Model(ids, tf_keras.layers.Dense(1, "sigmoid")(hidden))
    model.compile(mt.optimizers.with_tables("adam"), "binary_crossentropy")
    return model


class Watch(tf_keras.callbacks.Callback):
    """Records every epoch, and ends the training when the time is up."""

    def __init__(self, pids: dict[str, int], model: tf_keras.Model):
        """Prepares an empty record."""
        super().__init__()
        self.notes: list[dict] = []
        self._pids = pids
        self._watched = model
        self._end = time.monotonic() + 60 * _MINUTES.value
        self._begin = 0.0
        self._timing = {}

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the clock of the epoch's steps."""
        self._begin = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        """Prints a line."""
        if "ms_a_step" not in self._timing:
            self.on_test_begin()
        stats = mt.metrics.stats(self._watched)["ids"]
        note = {
            "epoch": epoch,
            "loss": round(logs["loss"], 4),
            "val_loss": logs.get("val_loss"),
            "rows": stats.num_rows,
            "table_bytes": stats.pool_bytes + stats.log_bytes,
            "resident_bytes": {
                name: resident_bytes(pid) for name, pid in self._pids.items()
            },
            **self._timing,
        }
        self._timing = {}
        self.notes.append(note)
        print(json.dumps(note), flush=True)
        if time.monotonic() > self._end:
            self.model.stop_training = True

    def on_test_begin(self, logs=None):
        """Stops the clock of the epoch's steps at its evaluation."""
        seconds = time.monotonic() - self._begin
        self._timing = {"ms_a_step": round(1e3 * seconds / _STEPS.value, 3)}


def resident_bytes(pid: int) -> int:
    """Returns the resident memory of a process."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise OSError(f"/proc/{pid}/status has no line 'VmRSS:'")


def verdicts(notes: list[dict]) -> list[str]:
    """Compares the last third of the epochs with the middle one.

    Returns:
        What grew that should not have; empty if all is well.
    """
    third = len(notes) // 3
    if third < 2:
        return [f"only {len(notes)} epochs: too few to tell; take more time."]
    middle, last = notes[third : 2 * third], notes[-third:]

    def medians(read):
        return [statistics.median(map(read, of)) for of in (middle, last)]

    found = []
    before, after = medians(lambda note: note["ms_a_step"])
    print(f"a step: {before:.2f} ms, then {after:.2f} ms")
    if after > _SLOWDOWN.value * before:
        found.append(f"a step took {before:.2f} ms, then {after:.2f} ms")
    of_tables = medians(lambda note: note["table_bytes"])
    tables = max(0.0, of_tables[1] - of_tables[0]) / _MIB
    print(f"tables grew by {tables:.1f} MiB")
    for name in notes[0]["resident_bytes"]:
        before, after = medians(lambda note, n=name: note["resident_bytes"][n])
        grown = (after - before) / _MIB
        print(f"{name}: {before / _MIB:.0f} MiB, grew by {grown:.1f} MiB")
        if grown > tables + _GROWTH.value:
            found.append(f"{name} grew by {grown:.1f} MiB")
    return found


def differing(model, client) -> int:
    """Returns the number of predictions that differ from the server's."""
    ids, _ = next(iter(make_dataset()))
    served = client.predict("soak", {"ids": ids.numpy()}).outputs
    (answer,) = served.values()
    close = np.isclose(answer, model(ids).numpy(), rtol=1e-4, atol=1e-5)
    return int((~close).sum())


def main(argv: Sequence[str]) -> None:
    """Trains until the time is up, and reports growth."""
    if len(argv) > 1:
        raise app.UsageError(f"Takes flags only. Received: {argv[1:]}")
    logging.set_verbosity(logging.WARNING)
    with (
        tempfile.TemporaryDirectory(prefix="monolith-soak-") as folder,
        mt.cluster.LocalCluster(num_ps=2, num_workers=2) as cluster,
    ):
        strategy = tf.distribute.ParameterServerStrategy(
            cluster.cluster_resolver
        )
        with strategy.scope():
            model = make_model()
        models = f"{folder}/models"
        record = mt.serving.export_saved_model(model, models)
        (port,) = pick_free_ports(1)
        command = [
            sys.executable,
            "-P",
            "-m",
            "monolith_tf.commands.main",
            "serve",
        ]
        command += ["--model_name=soak", f"--model_base_path={models}"]
        with (
            ChildProcess(
                "model server",
                [*command, f"--port={port}"],
                f"{folder}/server.log",
            ) as server,
            mt.serving.PredictionClient(f"localhost:{port}") as client,
        ):
            server.wait_until_reachable(port, 120)
            pids = {"chief": os.getpid(), server.name: server.pid}
            pids |= {child.name: child.pid for child in cluster.children}
            watch = Watch(pids, model)
            push = mt.callbacks.DeltaPush(
                client.address,
                "soak",
                f"{folder}/log",
                record,
                export_fn=lambda: mt.serving.export_saved_model(model, models),
            )
            checkpoints = mt.callbacks.Checkpoints(model, f"{folder}/saved")
            beside = {"checkpoints": checkpoints, "deltas": push}
            chosen = [beside[b] for b in beside if b in _BESIDE.value]
            creator = tf_keras.utils.experimental.DatasetCreator(make_dataset)
            evaluates = "evaluation" in _BESIDE.value
            model.fit(
                creator,
                steps_per_epoch=_STEPS.value,
                epochs=10**9,
                validation_data=creator if evaluates else None,
                validation_steps=10 if evaluates else None,
                verbose=0,
                # The watch first: it times the steps of the epoch alone.
                callbacks=[watch, *chosen],
            )
            found = verdicts(watch.notes)
            if "deltas" in _BESIDE.value:
                print(json.dumps(push.metrics.as_dict()))
                wrong = differing(model, client)
                if wrong:
                    found.append(f"{wrong} served predictions differ")
    print("\n".join(found) if found else "Nothing grew beyond the limits.")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    app.run(main)
