"""Snapshots while `fit` continues."""

import threading
import unittest.mock

import pytest
import tf_keras

import monolith_tf as mt
import processes
from monolith_tf.errors import CheckpointError
from monolith_tf.snapshots import files


def test_a_new_process_goes_on_where_the_last_snapshot_was(
    make_row_model, fit, tmp_path
):
    model, _ = make_row_model()
    snapshots = mt.callbacks.Snapshots(tmp_path, every_seconds=0)
    assert snapshots.restore(model) is None
    fit(model, 3, snapshots)
    assert snapshots.num_failed == 0
    model, table = make_row_model()
    snapshots = mt.callbacks.Snapshots(tmp_path, every_seconds=0)
    assert snapshots.restore(model).step == 6
    assert float(table.lookup([7])[0, 0]) == -6.0
    assert int(model.optimizer.iterations) == 6
    fit(model, 2, snapshots)
    assert snapshots.latest.step == 10
    assert float(table.lookup([7])[0, 0]) == -10.0


def running():
    """Threads that write a snapshot."""
    return [t for t in threading.enumerate() if t.name == "snapshot"]


def test_each_snapshot_is_of_one_step(make_row_model, fit, tmp_path):
    model, _ = make_row_model()
    store = mt.snapshots.SnapshotStore(tmp_path)

    class WaitForTheNext(tf_keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            processes.wait_until(lambda: not running())

    fit(
        model,
        8,
        mt.callbacks.Snapshots(
            tmp_path, every_seconds=0, keep=100, full_every=3
        ),
        WaitForTheNext(),
    )
    assert len(store.finished()) > 5
    for number in store.finished():
        restored, table = make_row_model()
        manifest = mt.snapshots.restore(restored, tmp_path, number=number)
        # Each step takes 1 off the row and counts one iteration.
        assert float(table.lookup([7])[0, 0]) == -manifest.step
        assert int(restored.optimizer.iterations) == manifest.step


def test_positions_are_of_the_moment(make_row_model, fit, tmp_path):
    model, _ = make_row_model()
    snapshots = mt.callbacks.Snapshots(
        tmp_path,
        every_seconds=0,
        keep=100,
        positions=lambda: {"steps": int(model.optimizer.iterations)},
    )
    fit(model, 5, snapshots)
    for manifest in mt.snapshots.SnapshotStore(tmp_path).whole():
        assert manifest.positions == {"steps": manifest.step}


def test_a_snapshot_that_fails_is_counted_and_training_goes_on(
    make_row_model, fit, tmp_path
):
    model, table = make_row_model()
    snapshots = mt.callbacks.Snapshots(tmp_path, every_seconds=0)
    with (
        unittest.mock.patch.object(
            files, "write_durably", side_effect=OSError(28, "disk full")
        ),
        pytest.raises(
            CheckpointError, match="could not be written: .*disk full"
        ),
    ):
        fit(model, 3, snapshots)
    assert snapshots.num_failed > 0
    assert float(table.lookup([7])[0, 0]) == -6.0
    fit(model, 1, snapshots)
    assert snapshots.latest.step == 8
    assert mt.snapshots.latest(tmp_path).step == 8


def test_no_thread_is_left(make_row_model, fit, tmp_path):
    model, _ = make_row_model()
    fit(model, 3, mt.callbacks.Snapshots(tmp_path, every_seconds=0))
    assert not running()


def test_a_fit_that_failed_leaves_the_model_usable(
    make_row_model, fit, tmp_path
):
    model, _ = make_row_model()
    snapshots = mt.callbacks.Snapshots(tmp_path, every_seconds=0)

    class Stop(mt.callbacks.Checkpoints):
        def __init__(self):
            self.model = None

        def on_epoch_end(self, epoch, logs=None):
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        fit(model, 1, snapshots, Stop())
    fit(model, 2, snapshots)
    assert snapshots.latest.step == 6


def test_numbers_that_make_no_sense_are_refused(tmp_path):
    with pytest.raises(ValueError, match="every_seconds=-1"):
        mt.callbacks.Snapshots(tmp_path, every_seconds=-1)
    for name in ("full_every", "keep", "max_queued_steps"):
        with pytest.raises(ValueError, match=f"{name}=0"):
            mt.callbacks.Snapshots(tmp_path, **{name: 0})
