"""Snapshots while `fit` continues."""

import os
import signal
import threading
import unittest.mock

import pytest
import tf_keras

import monolith_tf as mt
import processes
from monolith_tf.checkpoint import durable_files
from monolith_tf.errors import CheckpointError


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
            durable_files, "write_durably", side_effect=OSError(28, "disk full")
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


def test_sigterm_takes_a_snapshot_after_the_step_and_leaves(
    make_row_model, fit, tmp_path, monkeypatch
):
    model, _ = make_row_model()

    class Terminate(tf_keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 2:
                os.kill(os.getpid(), signal.SIGTERM)

    def leave(event, details):
        raise SystemExit(f"{event}: {details}")

    monkeypatch.setattr(
        "monolith_tf.callbacks.snapshots.leave_for_restart", leave
    )
    former = signal.getsignal(signal.SIGTERM)
    snapshots = mt.callbacks.Snapshots(tmp_path, every_seconds=1000)
    with pytest.raises(SystemExit, match="SIGTERM came: snapshot 1 has every"):
        fit(model, 9, snapshots, Terminate())
    steps = int(model.optimizer.iterations)
    assert steps == 6
    assert snapshots.latest.step == steps
    # A fit that follows in this process sets the handler anew.
    fit(model, 1, snapshots)
    assert signal.getsignal(signal.SIGTERM) == former


def test_a_chief_without_its_last_snapshot_says_so(
    make_row_model, fit, tmp_path, monkeypatch
):
    model, _ = make_row_model()

    class Terminate(tf_keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            os.kill(os.getpid(), signal.SIGTERM)

    def leave(event, details):
        raise SystemExit(f"{event}: {details}")

    monkeypatch.setattr(
        "monolith_tf.callbacks.snapshots.leave_for_restart", leave
    )
    monkeypatch.setattr(
        durable_files,
        "write_durably",
        unittest.mock.Mock(side_effect=OSError("full")),
    )
    former = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit, match="could not be written: OSError"):
            fit(
                model,
                9,
                mt.callbacks.Snapshots(tmp_path, every_seconds=1000),
                Terminate(),
            )
    finally:
        signal.signal(signal.SIGTERM, former)


def test_a_newer_chief_ends_the_training_of_an_older_one(
    make_row_model, fit, tmp_path, monkeypatch
):
    model, _ = make_row_model()
    snapshots = mt.callbacks.Snapshots(tmp_path, every_seconds=0)

    class StartAnother(tf_keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 3:
                processes.wait_until(lambda: not running())
                monkeypatch.setattr(
                    "monolith_tf.snapshots.writer_epoch.WRITER", 7
                )
                mt.snapshots.WriterEpoch(tmp_path)
                monkeypatch.undo()

    with pytest.raises(mt.errors.FencedError, match="Stop this one"):
        fit(model, 50, snapshots, StartAnother())
    assert mt.snapshots.latest(tmp_path).step <= 10
