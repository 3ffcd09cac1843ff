"""Each row is the exact sum of what all workers sent, each step once."""

import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import threading

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PROGRAM = pathlib.Path(__file__).with_name("exact_sum_program.py")
KILLS = int(os.environ.get("MONOLITH_TF_KILLS", "2"))
DEADLINE_SECONDS = 150 + 20 * KILLS


def run(directory, num_workers, num_rounds, on_line=lambda line, text: None):
    """Runs a job with two servers; returns its report."""
    job = subprocess.Popen(
        [
            *(
                sys.executable,
                "-P",
                "-m",
                "monolith_tf",
                "launch",
            ),
            *("--num_ps=2", f"--num_workers={num_workers}"),
            f"--max_restarts={KILLS}",
            f"--log_dir={directory / 'logs'}",
            *(str(PROGRAM), str(directory), str(num_rounds)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=directory,
    )
    timer = threading.Timer(DEADLINE_SECONDS, job.kill)
    timer.start()
    text = ""
    try:
        for line in job.stdout:
            text += line
            on_line(line, text)
        assert job.wait() == 0, text
    finally:
        timer.cancel()
        job.kill()
        job.wait()
        job.stdout.close()
    return json.loads((directory / "report.json").read_text())


@pytest.mark.parametrize("num_workers", [2, 4])
def test_every_row_is_its_sum(tmp_path, num_workers):
    report = run(tmp_path, num_workers, num_rounds=5)
    assert report["wrong_rows"] == 0
    assert report["rows"] == report["expected_rows"] > 790
    assert report["workers"] == num_workers
    assert report["shared"] >= 0.3
    assert report["applied"] == [report["steps"]] * 2
    assert report["repeated"] == [0, 0]


def test_every_row_is_its_sum_though_workers_are_killed(tmp_path):
    """What was sent by a worker that died is applied once by each server."""
    moments = random.Random(1)
    killed = []

    def kill(line, text):
        if not line.startswith("round") or len(killed) == KILLS:
            return
        threading.Event().wait(moments.uniform(0.0, 0.5))
        # In turns, but one that was killed may not have come back yet.
        for number in (len(killed) % 2, (len(killed) + 1) % 2):
            found = re.findall(rf"worker {number} started: process (\d+)", text)
            if found[-1] not in killed:
                os.kill(int(found[-1]), signal.SIGKILL)
                killed.append(found[-1])
                return

    report = run(tmp_path, 2, num_rounds=3 * KILLS + 2, on_line=kill)
    assert len(killed) == KILLS
    assert report["wrong_rows"] == 0
    assert report["rows"] == report["expected_rows"]
    assert report["applied"] == [report["steps"]] * 2
    assert max(report["repeated"]) <= KILLS
