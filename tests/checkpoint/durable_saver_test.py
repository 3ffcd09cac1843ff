"""A saver names a checkpoint that is on disk, then deletes older ones."""

import pytest
import tensorflow as tf

from monolith_tf import failpoints
from monolith_tf.checkpoint.durable_saver import DurableSaver

v1 = tf.compat.v1


@pytest.fixture
def save(tmp_path):
    with tf.Graph().as_default(), v1.Session() as session:
        value = v1.get_variable("value", initializer=1, use_resource=True)
        session.run(value.initializer)
        saver = DurableSaver([value], sharded=True, max_to_keep=2)
        yield lambda number, **options: saver.save(
            session, str(tmp_path / "model.ckpt"), number, **options
        )


def indexes(folder):
    return sorted(path.name for path in folder.glob("*.index"))


def test_the_last_checkpoints_are_kept_and_named(save, tmp_path):
    for number in (1, 2, 3):
        path = save(number)
    assert tf.train.latest_checkpoint(tmp_path) == path
    assert indexes(tmp_path) == ["model.ckpt-2.index", "model.ckpt-3.index"]
    assert not (tmp_path / "model.ckpt-1.meta").exists()
    state = (tmp_path / "checkpoint").read_text()
    assert str(tmp_path) not in state


def test_write_state_false_names_nothing(save, tmp_path):
    save(1, write_state=False)
    assert tf.train.latest_checkpoint(tmp_path) is None


@pytest.mark.parametrize(
    "point", ["before_fsync", "before_state_fsync", "before_rename"]
)
def test_a_failed_save_leaves_the_checkpoint_before(save, tmp_path, point):
    first = [save(1), save(2)][-1]
    with failpoints.fail_at(f"checkpoint_files.{point}:1:eio"):
        with pytest.raises(OSError, match=point):
            save(3)
    assert tf.train.latest_checkpoint(tmp_path) == first
    assert "model.ckpt-1.index" in indexes(tmp_path)
