"""Snapshots on time, each written on a thread."""

import unittest.mock

import pytest

import monolith_tf as mt
from monolith_tf.checkpoint import durable_files
from monolith_tf.errors import CheckpointError
from monolith_tf.snapshots import SnapshotWriter
from monolith_tf.snapshots import schedule as schedule_lib
from monolith_tf.snapshots.schedule import SnapshotOptions
from monolith_tf.snapshots.schedule import SnapshotSchedule


@pytest.fixture
def clock(monkeypatch):
    """The time of the schedule, a list of one number."""
    now = [100.0]
    monkeypatch.setattr(schedule_lib.time, "monotonic", lambda: now[0])
    return now


def schedule_of(directory, **options):
    schedule = SnapshotSchedule(SnapshotOptions(directory, **options))
    schedule.start()
    return schedule


def failing(name, error):
    return unittest.mock.patch.object(SnapshotWriter, name, side_effect=error)


def test_a_snapshot_is_due_after_its_seconds(tmp_path, clock, make_model):
    model = make_model().root
    schedule = schedule_of(tmp_path, every_seconds=5.0)
    assert not schedule.is_due()
    clock[0] += 5.0
    assert schedule.is_due()
    schedule.take(model, 3)
    schedule.wait()
    assert not schedule.is_due()
    clock[0] += 5.0
    assert schedule.is_due()
    assert schedule.latest.step == 3


def test_the_last_one_is_durable_when_it_returns(tmp_path, make_model):
    model = make_model()
    schedule = schedule_of(tmp_path, positions=lambda: {"clicks": 4})
    schedule.take(model.root, 1)
    model.train()
    schedule.take_last(model.root, 2)
    assert mt.snapshots.latest(tmp_path) == schedule.latest
    assert schedule.latest.step == 2
    assert not schedule.latest.is_full
    assert schedule.latest.positions == {"clicks": 4}


@pytest.mark.parametrize("name", ["begin", "finish"])
def test_a_snapshot_that_fails_is_counted_and_the_next_is_taken(
    tmp_path, make_model, name
):
    model = make_model().root
    schedule = schedule_of(tmp_path, every_seconds=0)
    with failing(name, OSError(28, "disk full")):
        schedule.take(model, 1)
        schedule.wait()
    assert (schedule.num_failed, schedule.latest) == (1, None)
    assert schedule.is_due()
    schedule.take_last(model, 2)
    assert (schedule.num_failed, schedule.latest.step) == (1, 2)


def test_a_last_snapshot_that_fails_names_the_one_before(tmp_path, make_model):
    model = make_model().root
    schedule = schedule_of(tmp_path)
    schedule.take(model, 1)
    schedule.wait()
    with unittest.mock.patch.object(
        durable_files, "write_durably", side_effect=OSError(28, "disk full")
    ):
        with pytest.raises(CheckpointError, match="full.* whole one is 1"):
            schedule.take_last(model, 2)


def test_an_error_that_stays_ends_the_training(tmp_path, make_model):
    model = make_model().root
    schedule = schedule_of(tmp_path)
    with failing("finish", CheckpointError("Not mine.")):
        schedule.take(model, 1)
        schedule.wait()
    with pytest.raises(CheckpointError, match="Not mine"):
        schedule.is_due()
