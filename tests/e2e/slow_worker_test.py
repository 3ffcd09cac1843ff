"""A slow worker does not hold the others."""

import json
import pathlib

import processes

PROGRAM = pathlib.Path(__file__).with_name("slow_worker_program.py")


def test_a_slow_worker_does_only_its_own_steps_slowly(tmp_path):
    report = tmp_path / "steps.json"
    processes.run(
        [
            *(*processes.MONOLITH_TF, "launch", "--num_workers=2"),
            *(f"--log_dir={tmp_path}", PROGRAM, report),
        ],
        cwd=tmp_path,
    )
    slow, fast = json.loads(report.read_text())
    assert slow + fast == 80
    assert fast > 3 * slow
