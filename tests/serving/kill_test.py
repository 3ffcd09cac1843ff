"""Real processes, killed with -9: the server, then the trainer."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import textwrap

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


def test_a_server_killed_and_restarted_catches_up(
    trainer, base_path, start_process, make_pusher, assert_equal
):
    from monolith_tf.serving.client import PredictionClient

    record = trainer.export(base_path)
    process, port = serve(start_process, base_path)
    pusher = make_pusher(f"127.0.0.1:{port}", record)
    pusher.start()
    trainer.change(seed=1)
    pusher.flush()
    process.kill()
    process.wait()
    trainer.change(seed=2)
    serve(start_process, base_path, port)
    trainer.change(seed=3)
    pusher.flush()
    assert pusher.metrics.replays > 0
    assert pusher.metrics.resyncs == 0
    with PredictionClient(f"127.0.0.1:{port}") as client:
        assert_equal(client, trainer)


TRAINER = textwrap.dedent(
    """
    import sys
    harness, port, checkpoint, base_path, log = sys.argv[1:]
    sys.path.append(harness)
    import small_trainer
    trainer = small_trainer.make_small_trainer(num_shards=2)
    trainer.change(seed=1)
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
    trainer, base_path, tmp_path, start_process, make_pusher, assert_equal
):
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
    )
    wait_for(first, "acknowledged")
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    trainer.model.load_weights(checkpoint)
    trainer.change(seed=99)
    # It knows only the export of its former life.
    pusher = make_pusher(f"127.0.0.1:{port}", os.path.join(base_path, "1"))
    pusher.flush()
    assert pusher.metrics.resyncs == 1
    trainer.tables["movie"].apply_gradients(
        tf.constant([1, 1, 599], tf.int64), tf.ones([3, 3])
    )
    pusher.flush()
    with PredictionClient(f"127.0.0.1:{port}") as client:
        assert_equal(client, trainer)
