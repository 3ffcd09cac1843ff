"""Real processes, killed with -9: the server, then the trainer."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import textwrap

import history
import history_rules
import numpy as np
import pytest
import tensorflow as tf

import small_trainer

COMMAND = str(pathlib.Path(sys.executable).with_name("monolith-tf"))

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture
def start_process():
    processes = []

    def start(*arguments):
        processes.append(
            subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        )
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def wait_for(process, pattern):
    for line in process.stdout:
        match = re.search(pattern, line)
        if match:
            return match
    pytest.fail(f"the process ended without {pattern!r}")


def serve(start_process, base_path, port=0):
    process = start_process(
        COMMAND, "serve", f"ranker={base_path}", f"--port={port}"
    )
    return process, wait_for(process, r"ready grpc=\S+:(\d+)")[1]


def flush_and_read(recorder, pusher, port, instance):
    """Delivers all; then records what the server answers for every id."""
    from monolith_tf.serving.client import PredictionClient

    begin = recorder.clock()
    pusher.flush()
    recorder.record("delivered", begin, instance=instance)
    ids = np.arange(600)
    with PredictionClient(f"127.0.0.1:{port}") as client:
        for index, table in enumerate(("movie", "user")):
            begin = recorder.clock()
            outputs = client.predict(
                "ranker", {"ids": ids}, f"monolith_lookup_{index}"
            ).outputs
            values = [
                row.tolist() if there else None
                for row, there in zip(
                    outputs["rows"], outputs["exists"], strict=True
                )
            ]
            recorder.served(begin, table, ids, values, instance)


@pytest.fixture
def recorder(tmp_path):
    recorder = history.Recorder(tmp_path / "history")
    yield recorder
    recorder.close()


def test_a_server_killed_and_restarted_catches_up(
    trainer, base_path, start_process, make_pusher, assert_equal, recorder,
    tmp_path,
):  # fmt: skip
    from monolith_tf.serving.client import PredictionClient

    trainer.recorder = recorder
    record = trainer.export(base_path)
    process, port = serve(start_process, base_path)
    pusher = make_pusher(f"127.0.0.1:{port}", record)
    pusher.start()
    trainer.change(seed=1)
    flush_and_read(recorder, pusher, port, "first server")
    process.kill()
    process.wait()
    trainer.change(seed=2)
    serve(start_process, base_path, port)
    trainer.change(seed=3)
    flush_and_read(recorder, pusher, port, "second server")
    assert pusher.metrics.replays > 0
    assert pusher.metrics.resyncs == 0
    assert not history_rules.check_delivery(
        tmp_path / "history", trainer.rows(600)
    )
    with PredictionClient(f"127.0.0.1:{port}") as client:
        assert_equal(client, trainer)


TRAINER = textwrap.dedent(
    """
    import sys
    harness, port, checkpoint, base_path, log, recorded = sys.argv[1:]
    sys.path.append(harness)
    import history
    import small_trainer
    trainer = small_trainer.make_small_trainer(num_shards=2)
    trainer.recorder = history.Recorder(recorded)
    trainer.change(seed=1)
    trainer.recorder.record("snapshotted", snapshot="weights")
    trainer.model.save_weights(checkpoint)
    record = trainer.export(base_path)
    from monolith_tf.serving import DeltaPusher
    pusher = DeltaPusher(
        trainer.model, "127.0.0.1:" + port, "ranker", log, record
    )
    pusher.start()
    trainer.change(seed=2)
    pusher.flush()
    print("acknowledged", flush=True)
    seed = 3
    while True:
        trainer.change(seed)
        seed += 1
    """
)


def test_a_trainer_killed_and_restored_from_before_ends_equal(
    trainer, base_path, tmp_path, start_process, make_pusher, assert_equal,
    recorder,
):  # fmt: skip
    from monolith_tf.serving.client import PredictionClient

    _, port = serve(start_process, base_path)
    checkpoint = str(tmp_path / "weights")
    first = start_process(
        sys.executable,
        "-P",
        "-c",
        TRAINER,
        str(pathlib.Path(small_trainer.__file__).parent),
        port,
        checkpoint,
        base_path,
        str(tmp_path / "log"),
        str(tmp_path / "history"),
    )
    wait_for(first, "acknowledged")
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    trainer.model.load_weights(checkpoint)
    recorder.record("restored", snapshot="weights")
    trainer.recorder = recorder
    trainer.change(seed=99)
    # It knows only the export of its former life.
    pusher = make_pusher(f"127.0.0.1:{port}", os.path.join(base_path, "1"))
    flush_and_read(recorder, pusher, port, "the new export")
    assert pusher.metrics.resyncs == 1
    assert not history_rules.check_delivery(
        tmp_path / "history", trainer.rows(600)
    )
    trainer.tables["movie"].apply_gradients(
        tf.constant([1, 1, 599], tf.int64), tf.ones([3, 3])
    )
    pusher.flush()
    with PredictionClient(f"127.0.0.1:{port}") as client:
        assert_equal(client, trainer)


FIT = textwrap.dedent(
    """
    import os, signal, sys
    import numpy as np
    import tensorflow as tf
    import tf_keras
    import monolith_tf as mt
    port, base_path, folder, life = sys.argv[1:]
    ids = tf_keras.Input([], dtype="int64", name="item")
    rows = mt.layers.DynamicEmbedding(
        mt.TableConfig("item", dim=4, optimizer=mt.optimizers.Adagrad(0.1))
    )(ids)
    click = tf_keras.layers.Dense(1, activation="sigmoid")(rows)
    model = tf_keras.Model({"item": ids}, {"click": click})
    model.compile(mt.optimizers.with_tables("sgd"), "binary_crossentropy")
    first = os.path.join(base_path, "1")
    if life == "0":
        mt.serving.export_saved_model(model, base_path)
    else:
        model.load_weights(folder + "/weights")

    class Life(tf_keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            # One cut per step.
            push.pusher.push()

        def on_epoch_end(self, epoch, logs=None):
            if epoch == 0:
                model.save_weights(folder + "/weights")
            elif life != "2":
                print("cuts", push.metrics.deltas, flush=True)
                signal.pause()

    # It knows only the export of its first life.
    push = mt.callbacks.DeltaPush(
        "127.0.0.1:" + port, "ranker", folder + "/log", first,
        export_fn=lambda: mt.serving.export_saved_model(model, base_path),
        interval_seconds=0.01,
    )
    random = np.random.default_rng(int(life))
    item = random.integers(0, 40, 800)
    model.fit(
        {"item": item}, {"click": (item % 2).astype(np.float32)[:, None]},
        batch_size=40, epochs=2, verbose=0, callbacks=[Life(), push],
    )
    asked = {"item": tf.range(50, dtype=tf.int64)}
    np.save(folder + "/click.npy", model(asked)["click"].numpy())
    print("resyncs", push.metrics.resyncs, flush=True)
    """
)


@pytest.mark.soak
def test_fit_goes_on_in_each_life_of_a_trainer_that_is_killed(
    base_path, tmp_path, start_process
):
    from monolith_tf.serving.client import PredictionClient

    _, port = serve(start_process, base_path)
    folder = tmp_path / "trainer"
    folder.mkdir()

    def live(life):
        return start_process(
            sys.executable, "-P", "-c", FIT,
            port, base_path, str(folder), str(life),
        )  # fmt: skip

    for life in range(2):
        process = live(life)
        # More than the next life takes before its first delta.
        assert int(wait_for(process, r"cuts (\d+)")[1]) >= 40
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    process = live(2)
    assert int(wait_for(process, r"resyncs (\d+)")[1]) == 1
    assert process.wait() == 0
    with PredictionClient(f"127.0.0.1:{port}") as client:
        served = client.predict("ranker", {"item": np.arange(50)}).outputs
    np.testing.assert_allclose(
        served["click"], np.load(folder / "click.npy"), rtol=1e-6
    )
