"""A role that is stopped is named and restarted, and no other one is."""

import json
import pathlib
import random
import re
import threading

import process_faults
import pytest

from processes import LaunchedJob

PROGRAM = pathlib.Path(__file__).with_name("unattended_training_program.py")
STEPS = 40
EPOCHS = 30
HELD = "all but the last epoch are done"
ROLES = ("ps 0", "ps 1", "worker 0", "worker 1", "chief 0")


def num_starts(job, role):
    return len(re.findall(rf"{role} started: process", job.text()))


@pytest.mark.parametrize("victim", ["ps 1", "worker 0", "chief 0"])
def test_training_is_exact_though_a_role_is_stopped(tmp_path, victim):
    moments = random.Random(victim)
    flags = ["--num_ps=2", "--num_workers=2", "--heartbeat_timeout_seconds=2"]
    job = LaunchedJob(tmp_path, *flags, PROGRAM, tmp_path, EPOCHS)
    try:
        # A checkpoint is there.
        job.read_until("epoch 2 done")
        threading.Event().wait(moments.uniform(0.0, 1.0))
        stopped = job.pid(victim)
        process_faults.stop(stopped)
        line = job.read_until(f"{victim} at localhost:")
        assert f"(process {stopped}) is hung, its process is stopped" in line
        # 2 s from its last answer, and the time of a busy machine.
        assert 2.0 <= float(re.search(r"answer (\S+) s ago", line)[1]) < 30.0
        job.read_until(f"killing {victim}: it is hung")
        job.read_until(f"restarting {victim}")
        assert not pathlib.Path(f"/proc/{stopped}").exists()
        if not victim.startswith("worker"):
            assert int(job.read_until("begins at epoch").split()[-1]) >= 2
        (tmp_path / "may_end").touch()
        job.finish()
    finally:
        job.close()
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["right"] == 1.0
    assert report["rows"] == 64
    if victim.startswith("worker"):
        # The step that it had not finished ran again.
        assert 0 <= report["steps"] - EPOCHS * STEPS <= 1
    else:
        assert report["steps"] == EPOCHS * STEPS
    restarted = {victim} | ({"chief 0"} if victim.startswith("ps") else set())
    assert {one for one in ROLES if num_starts(job, one) > 1} == restarted
