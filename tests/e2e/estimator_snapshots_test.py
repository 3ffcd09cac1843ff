"""Snapshots of Estimators between graphs: one moment, and nothing lost."""

import importlib.util
import os
import pathlib

import pytest
import tensorflow as tf

import monolith_tf as mt
from processes import LaunchedJob
from processes import wait_until

PROGRAM = pathlib.Path(__file__).with_name("estimator_snapshots_program.py")
KILLS = int(os.environ.get("MONOLITH_TF_KILLS", "1"))


@pytest.fixture(scope="module")
def program():
    spec = importlib.util.spec_from_file_location("snapshots", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def start(tmp_path):
    """Starts jobs that train in `tmp_path`."""
    jobs = []

    def start_job(num_ps, num_workers, *flags):
        job = LaunchedJob(
            tmp_path,
            *("--mode=estimator", f"--num_ps={num_ps}", *flags),
            *(f"--num_workers={num_workers}", PROGRAM, tmp_path),
        )
        jobs.append(job)
        return job

    yield start_job
    for job in jobs:
        job.close()


def stop(job, directory):
    (directory / "stop").touch()
    job.finish()
    (directory / "stop").unlink()


class Snapshots:
    """Reads the snapshots in a directory."""

    def __init__(self, program, directory):
        self.store = mt.snapshots.SnapshotStore(directory / "snapshots")
        with mt.TableSet():
            self._table = mt.Table(program.table_config())
        self._num_ids = program.IDS

    def last_step(self):
        """The step of the newest snapshot, or 0."""
        newest = self.store.latest()
        return 0 if newest is None else newest.step

    def counts(self, number):
        """Returns the step of a snapshot, and what counts the steps in it."""
        manifest = mt.snapshots.restore(
            tf.train.Checkpoint(table=self._table),
            self.store.directory,
            number=number,
            tables=["id"],
        )
        rows = [
            row for _, batch in self._table.export() for row in batch.tolist()
        ]
        assert len(rows) == (self._num_ids if manifest.step else 0)
        dense = self.store.path(number, "dense")
        return manifest.step, {
            *(-row[0] for row in rows),
            -tf.train.load_variable(dense, "weight"),
            float(tf.train.load_variable(dense, "global_step")),
        }

    def check(self):
        """Checks that every snapshot is of one step; returns these."""
        steps = []
        for number in self.store.finished():
            step, counts = self.counts(number)
            assert counts == {float(step)}, number
            steps.append(step)
        return steps


def begin_of(job):
    return int(job.read_until("begins at").split()[-1])


def test_no_kill_takes_back_more_than_the_steps_since_the_last_snapshot(
    program, start, tmp_path
):
    snapshots = Snapshots(program, tmp_path)
    job = start(2, 0, f"--max_restarts={3 * KILLS}")
    assert begin_of(job) == 0
    for victim in KILLS * ["ps 1", "chief 0", "ps 0"]:
        before = snapshots.last_step()
        wait_until(
            lambda before=before: snapshots.last_step() > before,
            job.is_running,
        )
        before = snapshots.last_step()
        job.kill(victim)
        job.read_until(f"restarting {victim}")
        assert begin_of(job) >= before, job.text()
        job.read_until("step ")
    stop(job, tmp_path)
    last = snapshots.check()[-1]
    # On another number of servers, and bit for bit.
    job = start(3, 0)
    assert begin_of(job) == last
    job.read_until("step ")
    stop(job, tmp_path)
    steps = snapshots.check()
    assert steps[-1] > last
    newest = snapshots.store.latest()
    assert len(newest.parts) == 3


@pytest.mark.soak
def test_all_workers_are_between_two_steps_when_a_snapshot_is_taken(
    program, start, tmp_path
):
    snapshots = Snapshots(program, tmp_path)
    job = start(2, 2)
    assert begin_of(job) == 0
    wait_until(lambda: len(snapshots.store.finished()) >= 12, job.is_running)
    stop(job, tmp_path)
    steps = snapshots.check()
    assert len(set(steps)) > 6
    assert {len(m.parts) for m in snapshots.store.whole()} == {2}
    # Increments too.
    assert {m.is_full for m in snapshots.store.whole()} == {True, False}


@pytest.mark.soak
def test_workers_that_wait_for_a_chief_that_dies_go_on_with_the_next(
    program, start, tmp_path, monkeypatch
):
    monkeypatch.setenv("MONOLITH_TF_FAIL_AT", "step_barrier.after_close:6:kill")
    snapshots = Snapshots(program, tmp_path)
    job = start(2, 1, "--max_restarts=20")
    for _ in range(2):
        begin_of(job)
        job.read_until("restarting chief 0")
        before = snapshots.last_step()
        assert before > 0
    assert begin_of(job) == before
    stop(job, tmp_path)
    # Nobody was within a step when the chief died, so these are exact.
    assert snapshots.check()[-1] > before
