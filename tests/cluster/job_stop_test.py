"""Signals stop a job: in order, at once, and not too early."""

import pathlib
import signal
import time

import pytest

from processes import wait_until

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_processes(start_job, number):
    job = start_job("chief-0:serve", "worker-0:serve")
    job.read_until("start 1 of chief-0: serve")
    job.process.send_signal(number)
    job.finish(code=128 + number)
    pids = [
        int(line.rsplit(" ", 1)[1])
        for line in job.lines
        if "started: process" in line
    ]
    assert len(pids) == 3
    for pid in pids:
        assert not pathlib.Path(f"/proc/{pid}").exists()


def test_after_sigterm_the_chief_leaves_before_the_others(tmp_path, start_job):
    job = start_job("chief-0:drain", "worker-0:outlive")
    job.read_until("start 1 of chief-0: drain")
    log = tmp_path / "logs" / "worker-0.log"
    wait_until(lambda: "outlive" in log.read_text())
    job.process.terminate()
    job.finish(code=128 + signal.SIGTERM)
    assert "SIGTERM: chief 0 has 25 s to leave (--drain_seconds)" in job.text()
    assert "has not left" not in job.text()
    assert "the chief left first: True" in log.read_text()


def test_a_chief_that_does_not_leave_is_killed_after_its_time(start_job):
    job = start_job("--drain_seconds=0.2", "chief-0:deaf", "worker-0:serve")
    job.read_until("start 1 of chief-0: deaf")
    job.process.terminate()
    job.finish(code=128 + signal.SIGTERM)
    assert "chief 0 has not left" in job.text()


def test_a_second_signal_ends_the_time_of_the_chief(start_job):
    job = start_job("--drain_seconds=10000", "chief-0:deaf", "worker-0:serve")
    job.read_until("start 1 of chief-0: deaf")
    job.process.terminate()
    job.read_until("chief 0 has 10000 s to leave")
    job.process.send_signal(signal.SIGINT)
    job.finish(code=128 + signal.SIGTERM)


def test_sigterm_is_answered_while_the_chief_waits_for_the_servers(
    tmp_path, launch
):
    # It never serves, so the wait would take two minutes.
    (tmp_path / "never.py").write_text("import signal\nsignal.pause()\n")
    program = tmp_path / "chief.py"
    program.write_text("print('the chief runs')\n")
    job = launch(
        "--import_module=never",
        program,
        environment={"PYTHONPATH": str(tmp_path)},
    )
    job.read_until("worker 0 started")
    begin = time.monotonic()
    job.process.terminate()
    job.finish(code=128 + signal.SIGTERM)
    assert time.monotonic() - begin < 60.0
    assert "the chief runs" not in job.text()
