"""What training asks servers for again and again leaves nothing there."""

import json
import pathlib
import subprocess
import sys

import pytest

PROGRAM = pathlib.Path(__file__).with_name("server_memory_program.py")
MOST_KIBIBYTES = 1.0


@pytest.mark.e2e
@pytest.mark.slow
def test_a_server_keeps_nothing_of_what_is_asked(tmp_path):
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "300"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    grown = json.loads(done.stdout.splitlines()[-1])
    assert all(each < MOST_KIBIBYTES for each in grown["kept"].values()), grown
