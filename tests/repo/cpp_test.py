"""Runs the C++ tests, so that one command runs every test."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_cpp_tests_pass(repository_root):
    assert pathlib.Path("/usr/include/gtest/gtest.h").exists(), (
        "the C++ tests need GoogleTest: apt-get install libgtest-dev"
    )
    done = subprocess.run(
        [str(repository_root / "tests/cc/run.sh")],
        env={**os.environ, "PYTHON": sys.executable},
        cwd=repository_root,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
