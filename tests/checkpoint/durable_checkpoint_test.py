"""Checkpoints are on disk before a file names them."""

import os
import pathlib
import subprocess
import sys
import unittest.mock

import pytest
import tensorflow as tf
from power_cut import PowerCut

import monolith_tf as mt
import processes
from monolith_tf.checkpoint.checkpoint_folder import CheckpointFolder
from monolith_tf.checkpoint.durable_checkpoint import DurableCheckpoint

PROGRAM = pathlib.Path(__file__).with_name("durable_checkpoint_program.py")


def make_manager(directory, number):
    checkpoint = DurableCheckpoint(number=number)
    return tf.train.CheckpointManager(checkpoint, str(directory), 2)


def test_files_and_names_are_synced_before_the_state(tmp_path):
    manager = make_manager(tmp_path, tf.Variable(1.0))
    synced = []
    fsync = os.fsync

    def record(descriptor):
        synced.append(pathlib.Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        assert not (tmp_path / "checkpoint").exists()
        fsync(descriptor)

    with unittest.mock.patch.object(os, "fsync", record):
        manager.save(1)
    assert synced == [*sorted(tmp_path.glob("ckpt-1.*")), tmp_path]
    assert len(synced) >= 3


def test_a_file_that_cannot_be_synced_is_named_by_nothing(tmp_path):
    manager = make_manager(tmp_path, tf.Variable(1.0))
    manager.save(1)
    with (
        mt.failpoints.fail_at("durable_files.before_file_fsync:1:eio"),
        pytest.raises(OSError),
    ):
        manager.save(2)
    assert tf.train.latest_checkpoint(str(tmp_path)).endswith("ckpt-1")


@pytest.mark.parametrize("is_special", [False, True])
def test_callbacks_run_once_and_options_stay(tmp_path, is_special):
    checkpoint = DurableCheckpoint(number=tf.Variable(1.0))
    called = []
    options = tf.train.CheckpointOptions(
        experimental_write_callbacks=[called.append],
        enable_async=False,
        **({"experimental_io_device": "/job:localhost"} if is_special else {}),
    )
    path = checkpoint.write(str(tmp_path / "saved"), options)
    assert called == [path] == [str(tmp_path / "saved")]
    assert options.experimental_write_callbacks == [called.append]


def test_python_state_is_written_as_it_is_now(tmp_path):
    class State(tf.train.experimental.PythonState):
        text = ""

        def serialize(self):
            return self.text

        def deserialize(self, string):
            self.text = string.decode()

    state = State()
    checkpoint = DurableCheckpoint(state=state)
    for text in ("one", "two"):
        state.text = text
        path = checkpoint.write(str(tmp_path / text))
    state.text = ""
    checkpoint.read(path)
    assert state.text == "two"


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("failpoint", "seed"),
    [
        ("", 0),
        ("traced_checkpoint.after_write:3:kill", 1),
        *(
            pytest.param(f"{name}:3:kill", seed, marks=pytest.mark.soak)
            for name in (
                "traced_checkpoint.after_write",
                "checkpoint_folder.before_directory_fsync",
                "durable_checkpoint.after_fsync",
            )
            for seed in range(2, 6)
        ),
    ],
)
def test_an_acknowledged_checkpoint_survives_a_loss_of_power(
    tmp_path, seed, failpoint
):
    disk = tmp_path / "disk"
    disk.mkdir()
    power = PowerCut(disk, tmp_path / "store", seed)
    acknowledged = tmp_path / "acknowledged"
    subprocess.run(
        [sys.executable, PROGRAM, disk, acknowledged],
        env={
            **os.environ,
            **power.environment,
            "MONOLITH_TF_FAIL_AT": failpoint,
        },
        timeout=processes.DEADLINE_SECONDS,
        capture_output=True,
        check=not failpoint,
    )
    power.cut()
    saved = int(acknowledged.read_text())
    assert saved == (2 if failpoint else 4)
    folder = CheckpointFolder(disk)
    folder.repair_state(verify=True)
    number = tf.Variable(0, dtype=tf.int64)
    tf.train.Checkpoint(number=number).read(
        tf.train.latest_checkpoint(str(disk))
    ).assert_existing_objects_matched()
    assert int(number) in (saved, saved + 1)
