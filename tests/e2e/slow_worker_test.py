"""A slow worker does not hold the others."""

import json
import pathlib
import subprocess
import sys

import pytest

PROGRAM = pathlib.Path(__file__).with_name("slow_worker_program.py")


@pytest.mark.e2e
@pytest.mark.slow
def test_a_slow_worker_does_only_its_own_steps_slowly(tmp_path):
    report = tmp_path / "steps.json"
    done = subprocess.run(
        [
            *(
                sys.executable,
                "-P",
                "-m",
                "monolith_tf",
                "launch",
            ),
            *("--num_workers=2", f"--log_dir={tmp_path}"),
            *(str(PROGRAM), str(report)),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    slow, fast = json.loads(report.read_text())
    assert slow + fast == 80
    assert fast > 3 * slow
