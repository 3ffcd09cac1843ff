"""Checkpoints of a saver of TensorFlow 1 are on disk before they are named."""

import os
import pathlib
import unittest.mock

import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf.checkpoint.durable_saver import DurableSaver

v1 = tf.compat.v1


@pytest.fixture
def save(tmp_path):
    """Saves a variable, as a checkpoint of a number."""
    with tf.Graph().as_default(), v1.Session() as session:
        variable = v1.get_variable("number", initializer=1.0)
        saver = DurableSaver([variable], sharded=True, max_to_keep=1)
        session.run(variable.initializer)
        yield lambda number: saver.save(
            session, str(tmp_path / "model.ckpt"), number
        )


def test_files_and_names_are_synced_before_the_state(save, tmp_path):
    synced = []
    fsync = os.fsync

    def record(descriptor):
        path = pathlib.Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        synced.append((path, (tmp_path / "checkpoint").exists()))
        fsync(descriptor)

    with unittest.mock.patch.object(os, "fsync", record):
        path = save(1)
    written = sorted(tmp_path.glob("model.ckpt-1.[di]*"))
    assert synced == [
        *((file, False) for file in written),
        (tmp_path, False),
        (tmp_path / "checkpoint", True),
        (tmp_path, True),
    ]
    assert len(synced) == 5
    assert path == str(tmp_path / "model.ckpt-1")


def test_a_file_that_cannot_be_synced_costs_no_older_checkpoint(save, tmp_path):
    save(1)
    with (
        mt.failpoints.fail_at("durable_files.before_file_fsync:1:eio"),
        pytest.raises(OSError),
    ):
        save(2)
    assert tf.train.latest_checkpoint(str(tmp_path)).endswith("ckpt-1")
    save(3)
    assert tf.train.latest_checkpoint(str(tmp_path)).endswith("ckpt-3")
