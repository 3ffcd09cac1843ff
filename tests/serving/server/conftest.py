"""SavedModels that are written in a moment, and servers of them."""

import contextlib
import shutil

import pytest
import tensorflow as tf

from monolith_tf.serving.client import PredictionClient
from monolith_tf.serving.server import ModelServer
from processes import DEADLINE_SECONDS


class Scale(tf.Module):
    """Multiplies by a constant; has a string and a failing signature too."""

    def __init__(self, factor):
        super().__init__()
        self.factor = tf.Variable(float(factor))
        self.calls = tf.Variable(0, dtype=tf.int64)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.int64, name="ids"),
            tf.TensorSpec([None, 2], tf.float32, name="weights"),
        ]
    )
    def score(self, ids, weights):
        ids = tf.cast(ids, tf.float32)
        return {
            "score": self.factor * ids + tf.reduce_sum(weights, 1),
            "ids": ids,
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="x")])
    def words(self, x):
        return {"joined_bytes": tf.strings.join([x, x])}

    @tf.function(input_signature=[tf.TensorSpec([], tf.int64, name="x")])
    def half(self, x):
        # Raises InvalidArgument for an odd x.
        check = tf.debugging.assert_equal(x % 2, tf.constant(0, tf.int64))
        with tf.control_dependencies([check]):
            return {"half": x // 2}

    @tf.function(input_signature=[tf.TensorSpec([1, None], tf.int64, "x")])
    def count(self, x):
        return {"calls": self.calls.assign_add(tf.size(x, tf.int64))[None]}


@pytest.fixture
def write_model(tmp_path):
    """Writes `<tmp_path>/<name>/<version>` by rename; returns its parent."""

    def write(version, factor, name="scale"):
        module = Scale(factor)
        beside = tmp_path / f"beside-{name}-{version}"
        tf.saved_model.save(
            module,
            str(beside),
            signatures={
                "serving_default": module.score,
                "words": module.words,
                "half": module.half,
                "count": module.count,
            },
        )
        (tmp_path / name).mkdir(exist_ok=True)
        shutil.move(beside, tmp_path / name / str(version))
        return str(tmp_path / name)

    return write


@pytest.fixture
def serve():
    """Starts servers; returns one with a client as `server.client`."""
    with contextlib.ExitStack() as stack:

        def start(models, **arguments):
            if isinstance(models, str):
                models = {"scale": models}
            arguments = {"port": 0, "poll_seconds": 0.02, **arguments}
            server = stack.enter_context(ModelServer(models, **arguments))
            server.client = stack.enter_context(
                PredictionClient(
                    f"127.0.0.1:{server.port}",
                    timeout_seconds=DEADLINE_SECONDS,
                )
            )
            return server

        yield start
