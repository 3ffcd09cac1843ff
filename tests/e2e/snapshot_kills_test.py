"""A process is killed at every failpoint of a snapshot, and loses none."""

import os
import pathlib
import random
import sys

import pytest

import processes

PROGRAM = pathlib.Path(__file__).with_name("snapshot_kills_program.py")
# All of them in `make soak`, some in every run.
POINTS = [
    "snapshot_begin.before",
    "snapshot_begin.after",
    "local_file.before_write",
    "local_file.before_fsync",
    "snapshot_write.after",
    "durable_files.before_file_fsync",
    "durable_files.before_directory_fsync",
    "durable_files.before_write",
    "durable_files.before_fsync",
    "durable_files.before_rename",
    "durable_files.after_rename",
    "snapshot_store.before_publish",
    "snapshot_store.before_current",
    "snapshot_store.before_remove",
    "snapshot_store.before_remove_parts",
]
OFTEN = {
    "local_file.before_fsync",
    "durable_files.before_rename",
    "snapshot_store.before_current",
    "snapshot_store.before_remove_parts",
}


def run(action, directory, *arguments, fail_at="", code=0):
    done = processes.run(
        [sys.executable, PROGRAM, action, directory, *arguments],
        code=None if fail_at else code,
        env={**os.environ, "MONOLITH_TF_FAIL_AT": fail_at},
    )
    steps = [
        (word, int(number))
        for word, number, *_ in map(str.split, done.stdout.splitlines())
    ]
    return done, steps


@pytest.mark.slow
@pytest.mark.parametrize(
    "point",
    [
        pytest.param(point, marks=() if point in OFTEN else pytest.mark.soak)
        for point in POINTS
    ],
)
def test_a_kill_at_any_point_loses_no_durable_snapshot(tmp_path, point):
    hit = random.Random(point).randint(1, 3)
    done, steps = run("save", tmp_path, 8, fail_at=f"{point}:{hit}:kill")
    assert done.returncode == -9, done.stderr
    assert f"FAILPOINT {point} hit {hit}: kill" in done.stderr
    durable = max([n for word, n in steps if word == "durable"], default=0)
    # The program itself compares rows and dense variables with the manifest.
    _, found = run("check", tmp_path)
    assert found[0][1] in (durable, durable + 1)
    # The next life goes on from there.
    _, steps = run("save", tmp_path, 2)
    assert steps[-1] == ("durable", found[0][1] + 2)


@pytest.mark.slow
@pytest.mark.parametrize("action", ["enospc", "eio"])
def test_a_disk_that_fails_costs_the_snapshots_that_met_it(tmp_path, action):
    done, steps = run(
        "save",
        tmp_path,
        5,
        fail_at=f"local_file.before_fsync:3:{action},"
        f"durable_files.before_fsync:4:{action}",
    )
    assert done.returncode == 0, done.stderr
    words = [word for word, _ in steps]
    assert words.count("failed") >= 2
    assert words[-1] == "durable"
    _, found = run("check", tmp_path)
    assert found == [("restored", 5)]
