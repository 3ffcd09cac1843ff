"""Failpoints fail where and when they are told to, and nowhere else."""

from __future__ import annotations

import errno
import os
import signal
import time

import pytest

import processes
from monolith_tf import failpoints

# Loads the module without the package, which would load TensorFlow.
HIT = "from monolith_tf import failpoints; failpoints.hit('log.write')"


def test_nothing_fails_unless_it_is_named():
    failpoints.hit("log.write")
    with failpoints.fail_at("log.read::raise"):
        failpoints.hit("log.write")


def test_one_hit_triggers_if_it_has_a_number():
    with failpoints.fail_at("log.write:2:raise"):
        failpoints.hit("log.write")
        with pytest.raises(
            failpoints.FailpointError, match="failpoint log.write, hit 2"
        ):
            failpoints.hit("log.write")
        failpoints.hit("log.write")


def test_each_hit_triggers_without_a_number():
    with failpoints.fail_at("log.write::raise"):
        for _ in range(2):
            with pytest.raises(failpoints.FailpointError):
                failpoints.hit("log.write")


def test_a_full_disk_and_a_failed_one_are_errors_of_the_system():
    with failpoints.fail_at("log.write:1:enospc,log.write:2:eio"):
        for code in (errno.ENOSPC, errno.EIO):
            with pytest.raises(OSError, match="failpoint log.write") as raised:
                failpoints.hit("log.write")
            assert raised.value.errno == code
        failpoints.hit("log.write")


def test_a_sleep_delays_the_caller():
    with failpoints.fail_at("log.write:1:sleep=0.02"):
        started = time.monotonic()
        failpoints.hit("log.write")
        assert time.monotonic() - started >= 0.02


def test_the_end_of_the_block_restores_what_was_active():
    with failpoints.fail_at("log.write::raise"):
        with failpoints.fail_at(""):
            failpoints.hit("log.write")
        with pytest.raises(failpoints.FailpointError):
            failpoints.hit("log.write")
    failpoints.hit("log.write")


def test_what_fires_is_printed(capfd):
    with failpoints.fail_at("log.write:1:sleep=0"):
        failpoints.hit("log.write")
    assert capfd.readouterr().err == "FAILPOINT log.write hit 1: sleep\n"


def test_a_malformed_spec_is_refused():
    with pytest.raises(ValueError, match="MONOLITH_TF_FAIL_AT"):
        with failpoints.fail_at("log.write"):
            pass


@pytest.mark.e2e
def test_the_variable_kills_a_process_of_python():
    done = processes.run(
        [*processes.PYTHON, "-c", HIT],
        env={**os.environ, "MONOLITH_TF_FAIL_AT": "log.write::kill"},
        code=None,
    )
    assert done.returncode == -signal.SIGKILL
    assert "FAILPOINT log.write hit 1: kill" in done.stderr


@pytest.mark.e2e
def test_a_malformed_variable_is_an_error_of_the_import():
    done = processes.run(
        [*processes.PYTHON, "-c", HIT],
        env={**os.environ, "MONOLITH_TF_FAIL_AT": "log.write"},
        code=None,
    )
    assert done.returncode == 1
    assert "Received: 'log.write'. Example:" in done.stderr


@pytest.mark.e2e
@pytest.mark.slow
def test_the_variable_reaches_the_ops():
    done = processes.run(
        [
            *processes.PYTHON,
            "-c",
            "import monolith_tf as mt\n"
            "table = mt.Table(mt.TableConfig('movie', dim=1))\n"
            "table.clear()\n"
            "table.clear()\n",
        ],
        env={**os.environ, "MONOLITH_TF_FAIL_AT": "clear.before:2:raise"},
        code=None,
    )
    assert done.returncode == 1
    assert "Table 'movie': failpoint clear.before, hit 2" in done.stderr
