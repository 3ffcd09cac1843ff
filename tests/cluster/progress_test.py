"""A chief reports its step in a file, at most once per second."""

import json
import logging

import pytest

import monolith_tf as mt
from monolith_tf import failpoints
from monolith_tf.cluster import progress
from monolith_tf.cluster.progress import Progress
from processes import wait_until


@pytest.fixture
def file(tmp_path, monkeypatch):
    path = tmp_path / "progress.json"
    monkeypatch.setenv(progress.FILE_VARIABLE, str(path))
    monkeypatch.setattr(progress, "_writer", progress._Writer())
    return path


def test_the_step_is_in_the_file(file):
    mt.cluster.report_step(12)
    found = progress.read_progress(file)
    assert (found.step, progress.read_step(file)) == (12, 12)
    assert found.calls >= 0
    assert [path.name for path in file.parent.iterdir()] == ["progress.json"]


def test_it_is_written_once_per_second(file, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    for step in range(5):
        mt.cluster.report_step(step)
        assert progress.read_step(file) == 0
        now[0] += 0.2
    # The last step counts, though its own report came too early.
    progress._writer.report(None)
    assert progress.read_step(file) == 4


def test_without_a_launcher_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.delenv(progress.FILE_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    mt.cluster.report_step(1)
    with progress.ProgressReporter():
        assert not progress.is_launched()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_does_not_stop_training(file, caplog):
    with failpoints.fail_at("progress.before_write::enospc"):
        mt.cluster.report_step(1)
    assert "progress is not written" in caplog.text
    assert not file.exists()


def test_a_block_reports_without_being_asked(file):
    with progress.ProgressReporter():
        wait_until(file.exists)
        first = progress.read_progress(file)
        assert (first.step, first.calls) == (None, 0)
        wait_until(lambda: progress.read_progress(file).time > first.time)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"step": 1}', '{"x": 1}'])
def test_a_file_that_is_not_whole_reads_as_none(file, text):
    file.write_text(text)
    assert progress.read_progress(file) is None
    assert progress.read_step(file) is None


def test_a_step_or_a_call_is_progress():
    before = Progress(step=3, calls=7, time=1.0)
    assert before.has_moved_since(None)
    assert not Progress(3, 7, 2.0).has_moved_since(before)
    assert Progress(4, 7, 2.0).has_moved_since(before)
    assert Progress(3, 8, 2.0).has_moved_since(before)


def test_the_file_is_what_it_is_documented_to_be(file, caplog):
    caplog.set_level(logging.WARNING)
    mt.cluster.report_step(5)
    record = json.loads(file.read_text())
    assert sorted(record) == ["calls", "step", "time"]
    assert not caplog.messages
