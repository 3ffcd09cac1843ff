"""One worker with any number of servers learns as one process does."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PROGRAM = pathlib.Path(__file__).with_name("loss_curve_program.py")
DEADLINE_SECONDS = 120


def losses(directory, *command):
    report = directory / "losses.json"
    done = subprocess.run(
        [sys.executable, "-P", *command, str(PROGRAM), str(report)],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(report.read_text())


@pytest.fixture(scope="module")
def of_one_process(tmp_path_factory):
    return losses(tmp_path_factory.mktemp("alone"))


def test_the_model_learns(of_one_process):
    assert len(of_one_process) == 40
    assert of_one_process[-1] < 0.7 * of_one_process[0]


@pytest.mark.parametrize("num_ps", [1, 2, 3])
def test_the_loss_curve_is_that_of_one_process(
    of_one_process, tmp_path, num_ps
):
    launch = ["-m", "monolith_tf.cli", "launch", f"--num_ps={num_ps}"]
    found = losses(tmp_path, *launch, f"--log_dir={tmp_path}")
    np.testing.assert_allclose(found, of_one_process, rtol=1e-5)
