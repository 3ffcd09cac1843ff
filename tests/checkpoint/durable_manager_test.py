"""A manager names a checkpoint when it is on disk, then deletes older ones."""

import pytest
import tensorflow as tf

from monolith_tf import failpoints
from monolith_tf.checkpoint.durable_manager import DurableManager
from monolith_tf.checkpoint.traced_checkpoint import TracedCheckpoint


@pytest.fixture
def manager(tmp_path):
    checkpoint = TracedCheckpoint(value=tf.Variable(1))
    return DurableManager(checkpoint, str(tmp_path), max_to_keep=1)


@pytest.mark.parametrize(
    "point",
    [
        "before_fsync",
        "before_directory_fsync",
        "before_write",
        "before_state_fsync",
        "before_rename",
    ],
)
def test_a_failed_save_leaves_the_checkpoint_before(manager, tmp_path, point):
    first = manager.save()
    with failpoints.fail_at(f"checkpoint_files.{point}:1:enospc"):
        with pytest.raises(OSError, match=point):
            manager.save()
    assert tf.train.latest_checkpoint(tmp_path) == first
    assert (tmp_path / "ckpt-1.index").exists()
    latest = manager.save()
    assert tf.train.latest_checkpoint(tmp_path) == latest
    assert not (tmp_path / "ckpt-1.index").exists()
