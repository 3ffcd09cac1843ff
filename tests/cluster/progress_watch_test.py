"""A chief whose step does not move is over its time."""

import json

import pytest

from monolith_tf.cluster.progress_watch import ProgressWatch


class Chief:
    """A clock, and the file that a chief would write."""

    def __init__(self, path):
        self._path = path
        self.now = 0.0

    def clock(self):
        return self.now

    def report(self, step, calls=0):
        record = {"step": step, "calls": calls, "time": self.now}
        self._path.write_text(json.dumps(record))

    def look(self, watch, until):
        """Looks every second; returns the last finding."""
        found = None
        while self.now < until:
            self.now += 1.0
            found = watch.look()
        return found


@pytest.fixture
def chief(tmp_path):
    return Chief(tmp_path / "progress.json")


@pytest.fixture
def watch(chief, tmp_path):
    return ProgressWatch(
        tmp_path / "progress.json", timeout_seconds=10.0, clock=chief.clock
    )


def test_no_time_runs_before_the_first_report(chief, watch):
    assert chief.look(watch, until=1000) is None


def test_a_step_that_stands_is_over_its_time(chief, watch):
    chief.report(7, calls=3)
    assert chief.look(watch, until=10) is None
    assert chief.look(watch, until=11) == (
        "no step in 10 s; last known step 7, 3 calls of workers"
    )


@pytest.mark.parametrize("what", ["step", "calls"])
def test_each_step_and_each_call_begins_the_time_anew(chief, watch, what):
    for number in range(20):
        chief.report(**{"step": 0, "calls": 0, what: number})
        assert chief.look(watch, until=chief.now + 9) is None


def test_a_report_of_the_same_step_is_no_progress(chief, watch):
    chief.report(7)
    assert chief.look(watch, until=6) is None
    chief.report(7)
    assert chief.look(watch, until=11) is not None


def test_the_next_chief_begins_anew(chief, watch, tmp_path):
    chief.report(7)
    assert chief.look(watch, until=11) is not None
    (tmp_path / "progress.json").unlink()
    assert chief.look(watch, until=500) is None
    chief.report(7)
    assert chief.look(watch, until=509) is None


def test_a_pause_of_the_observer_does_not_count(chief, watch):
    chief.report(7)
    assert chief.look(watch, until=5) is None
    chief.now += 600.0
    assert watch.look() is None
    assert chief.look(watch, until=610) is None
    assert chief.look(watch, until=612) is not None


def test_0_is_no_limit(chief, tmp_path):
    watch = ProgressWatch(tmp_path / "progress.json", 0.0, chief.clock)
    chief.report(7)
    assert chief.look(watch, until=1000) is None
