"""One peer of `benchmarks/parameter_server.py`: Keras fit on a cluster.

An object of this module lives in a process of its own, which is the chief of a
cluster of its own, or trains alone.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import statistics
import tempfile
import threading
import time

import deepfm
import fault_proxy
import numpy as np
import op_profile
import tensorflow as tf
import tf_keras

import monolith_tf as mt

_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
_TFRA = "tensorflow_recommenders_addons"


class Fit:
    """A model that trains.

    Args:
        peer: One of `deepfm.PEERS`.
        num_ps: Parameter servers; 0 for one process without a cluster.
        num_workers: Workers.
        batch: Examples a step.
        data: Folder of `write_batches`.
        delay_ms: How late everything arrives that goes to a parameter server
            or comes from one.
        model: Arguments of `deepfm.DeepFM`.
    """

    def __init__(
        self,
        peer: str,
        num_ps: int,
        num_workers: int,
        batch: int,
        data: str,
        delay_ms: float,
        model: dict,
    ):
        """Starts the cluster, builds the model."""
        self._stack = contextlib.ExitStack()
        self._ports = pathlib.Path(
            self._stack.enter_context(tempfile.TemporaryDirectory())
        )
        self._cluster = None
        devices = ["CPU:0"]
        strategy = tf.distribute.get_strategy()
        if num_ps:
            modules = ["profiled_role"]
            if peer == "tfra":
                modules.append(_TFRA)
            os.environ["MONOLITH_TF_PROFILER_PORTS"] = str(self._ports)
            # Where servers find profiled_role.
            paths = [str(pathlib.Path(__file__).parent)]
            paths += filter(None, [os.environ.get("PYTHONPATH")])
            os.environ["PYTHONPATH"] = os.pathsep.join(paths)
            # A lost server of a peer is an error; do not wait for it.
            os.environ["GRPC_FAIL_FAST"] = "use_caller"
            self._cluster = self._stack.enter_context(
                mt.cluster.LocalCluster(
                    num_ps=num_ps, num_workers=num_workers, modules=modules
                )
            )
            strategy = tf.distribute.ParameterServerStrategy(
                self._resolver(delay_ms)
            )
            devices = [
                f"/job:ps/replica:0/task:{number}/device:CPU:0"
                for number in range(num_ps)
            ]
        self._devices = devices
        shape = deepfm.DeepFM(devices=devices, **model)
        with strategy.scope():
            self._model = shape.make(peer)
        layout = deepfm.layout_of(peer)
        names = shape.feature_names if layout == deepfm.BY_FEATURE else None
        dataset = batches(data, layout, batch, shape.features, names)
        self._dataset = dataset()
        if num_ps:
            self._dataset = tf_keras.utils.experimental.DatasetCreator(
                lambda context: dataset()
            )

    def fit(self, steps: int, epochs: int) -> dict:
        """Trains one epoch to warm up, then `epochs` that count.

        Args:
            steps: Steps an epoch.
            epochs: How many.

        Returns:
            Median `seconds` of an epoch; `cpu_seconds` of each process in all
            epochs that count, by its name; `loss` of the last; `servers`, what
            all servers did a step in their ops: of lookup and apply ids, bytes
            in and out, and milliseconds.
        """
        watch = _Watch(self._pids(), self._read_servers)
        history = self._model.fit(
            self._dataset,
            steps_per_epoch=steps,
            epochs=epochs + 1,
            verbose=0,
            callbacks=[watch],
        )
        return {
            "seconds": statistics.median(watch.seconds),
            "cpu_seconds": watch.cpu_seconds(),
            "loss": history.history["loss"][-1],
            "servers": {
                kind: {
                    "ids": numbers[1] / (steps * epochs),
                    "bytes": numbers[2] / (steps * epochs),
                    "ms": numbers[3] / 1e6 / (steps * epochs),
                }
                for kind, numbers in zip(
                    ("lookup", "apply"), watch.of_servers(), strict=True
                )
            },
        }

    def profile(self, steps: int, seconds: float) -> dict:
        """Watches the processes of a cluster while it trains.

        Args:
            steps: Steps that surely take longer.
            seconds: How long.

        Returns:
            By process, milliseconds in all by kind of op.
        """
        ports = sorted(self._ports.iterdir())
        with tempfile.TemporaryDirectory() as folder:
            started = threading.Event()
            fit = threading.Thread(
                target=self._model.fit,
                args=(self._dataset,),
                kwargs={
                    "steps_per_epoch": 20,
                    "epochs": max(2, steps // 20),
                    "verbose": 0,
                    "callbacks": [_Started(started)],
                },
            )
            fit.start()
            started.wait()
            found = {}
            for path in ports:
                into = pathlib.Path(folder) / path.name
                tf.profiler.experimental.client.trace(
                    f"localhost:{path.read_text()}",
                    str(into),
                    int(1e3 * seconds),
                )
                found[path.name] = {}
                for trace in into.rglob("*.xplane.pb"):
                    found[path.name] = op_profile.milliseconds_by_kind(trace)
            self._model.stop_training = True
            fit.join()
        return found

    def close(self) -> None:
        """Ends the cluster."""
        self._stack.close()

    def _resolver(self, delay_ms: float):
        """The cluster, with its parameter servers behind the delay."""
        resolver = self._cluster.cluster_resolver
        if not delay_ms:
            return resolver
        # Workers take addresses from the chief that connects to them.
        addresses = resolver.cluster_spec().as_dict()
        addresses["ps"] = self._stack.enter_context(
            fault_proxy.delayed(addresses["ps"], delay_ms)
        )
        return tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec(addresses),
            task_type=resolver.task_type,
            task_id=resolver.task_id,
            rpc_layer=resolver.rpc_layer,
        )

    def _read_servers(self) -> np.ndarray:
        """The counters of `ops.server_counters`, summed over all servers."""
        total = np.zeros([2, 5], np.int64)
        for device in self._devices:
            with tf.device(device):
                total += mt.ops.server_counters().numpy()
        return total

    def _pids(self) -> dict[str, int]:
        pids = {"chief": os.getpid()}
        if self._cluster is not None:
            pids |= {child.name: child.pid for child in self._cluster.children}
        return pids


def write_batches(
    folder: str, shape: deepfm.DeepFM, numbers: np.ndarray, labels: np.ndarray
) -> None:
    """Writes the input of `batches`, once per layout.

    Args:
        folder: Where to.
        shape: The model.
        numbers: int64 `[batches, batch, features]`, ids of each feature counted
            from 0.
        labels: float32 `[batches, batch, 1]`.
    """
    path = pathlib.Path(folder)
    (path / "labels").write_bytes(labels.tobytes())
    for layout, ids in shape.layouts(numbers).items():
        (path / layout).write_bytes(np.ascontiguousarray(ids).tobytes())


def batches(
    folder: str,
    layout: str,
    batch: int,
    features: int,
    names: list[str] | None,
):
    """Returns a function that makes an endless dataset of batches.

    Args:
        folder: Of `write_batches`.
        layout: Its file of ids.
        batch: Examples a batch.
        features: Ids an example.
        names: Of an input a feature, or None for one of all.
    """

    def read(name, dtype, shape):
        dtype = tf.as_dtype(dtype)
        size = int(np.prod(shape)) * dtype.size
        return tf.data.FixedLengthRecordDataset(
            str(pathlib.Path(folder) / name), size
        ).map(lambda text: tf.reshape(tf.io.decode_raw(text, dtype), shape))

    def make():
        shape = [features, batch] if names else [batch, features]
        ids = read(layout, tf.int64, shape)
        if names:
            ids = ids.map(
                lambda of_all: dict(zip(names, tf.unstack(of_all), strict=True))
            )
        dataset = tf.data.Dataset.zip(
            (ids, read("labels", tf.float32, [batch, 1]))
        )
        options = tf.data.Options()
        # As in keras_fit.py: the end of fit would wait for its thread.
        options.autotune.enabled = False
        return dataset.repeat().prefetch(2).with_options(options)

    return make


class _Watch(tf_keras.callbacks.Callback):
    """Measures wall and processor time of all epochs after the first."""

    def __init__(self, pids: dict[str, int], read_servers):
        super().__init__()
        self.seconds = []
        self._read_servers = read_servers
        self._servers = None
        self._pids = pids
        self._begin = 0.0
        self._cpu = {}

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            self._cpu = self._read()
            self._servers = self._read_servers()
        self._begin = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        if epoch:
            self.seconds.append(time.perf_counter() - self._begin)

    def cpu_seconds(self) -> dict[str, float]:
        """Processor seconds since the first epoch, by process."""
        return {
            name: seconds - self._cpu[name]
            for name, seconds in self._read().items()
        }

    def of_servers(self) -> np.ndarray:
        """Server counters since the first epoch."""
        return self._read_servers() - self._servers

    def _read(self):
        found = {}
        for name, pid in self._pids.items():
            with open(f"/proc/{pid}/stat") as file:
                # After the name, which may hold spaces: utime is the 12th.
                fields = file.read().rpartition(")")[2].split()
            found[name] = (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS
        return found


class _Started(tf_keras.callbacks.Callback):
    """Signals the start of the second epoch."""

    def __init__(self, event: threading.Event):
        super().__init__()
        self._event = event

    def on_epoch_begin(self, epoch, logs=None):
        if epoch:
            self._event.set()
