"""The callback under ParameterServerStrategy, with separate processes."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

PROGRAM = pathlib.Path(__file__).with_name("delta_push_pss_program.py")


@pytest.mark.e2e
@pytest.mark.slow
def test_after_fit_on_parameter_servers_the_server_equals_the_model(tmp_path):
    child = subprocess.run(
        [sys.executable, str(PROGRAM), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    assert "'resyncs': 0" in child.stdout
