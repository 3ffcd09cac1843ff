"""Checkpoints are on disk before they are named, whatever ends the power."""

import fcntl
import os
import re
import sys

import pytest
from power_cut import PowerCut

import processes
from monolith_tf import failpoints
from monolith_tf.checkpoint import durable_files

PROGRAM = """
import tensorflow as tf
from monolith_tf.checkpoint.{module} import {manager}
{body}
"""

MANAGER = """
from monolith_tf.checkpoint.traced_checkpoint import TracedCheckpoint
value = tf.Variable(0)
manager = DurableManager(TracedCheckpoint(value=value), "saved", 1)
for number in range(1, 4):
    value.assign(number)
    manager.save(number)
    print("acknowledged", number, flush=True)
"""

SAVER = """
v1 = tf.compat.v1
with tf.Graph().as_default(), v1.Session() as session:
    value = v1.get_variable("value", initializer=0, use_resource=True)
    saver = DurableSaver([value], sharded=True, max_to_keep=1)
    for number in range(1, 4):
        value.load(number, session)
        saver.save(session, "saved/model.ckpt", number)
        print("acknowledged", number, flush=True)
"""

PROGRAMS = {
    "manager": PROGRAM.format(
        module="durable_manager", manager="DurableManager", body=MANAGER
    ),
    "saver": PROGRAM.format(
        module="durable_saver", manager="DurableSaver", body=SAVER
    ),
}

READ = """
import sys
import tensorflow as tf
from monolith_tf.checkpoint.checkpoint_state import newest_whole
reader = tf.train.load_checkpoint(newest_whole("saved"))
names = [n for n in reader.get_variable_to_shape_map() if "value" in n.lower()]
print("restored", int(reader.get_tensor(names[0])))
"""

POINTS = [
    "checkpoint_files.before_fsync:5",
    "checkpoint_files.before_directory_fsync:8",
    "checkpoint_files.before_write:3",
    "checkpoint_files.before_state_fsync:3",
    "checkpoint_files.before_rename:3",
    "checkpoint_files.after_rename:3",
    "checkpoint_files.before_lock:3",
]


def run(program, folder, code=0, **environment):
    return processes.run(
        [sys.executable, "-c", program],
        cwd=folder,
        code=code,
        env={**os.environ, **environment},
    )


def numbers(done, word):
    return [int(n) for n in re.findall(rf"{word} (\d+)", done.stdout)]


@pytest.mark.e2e
@pytest.mark.parametrize("kind", PROGRAMS)
@pytest.mark.parametrize("point", [None, *POINTS])
def test_the_acknowledged_checkpoint_outlives_a_power_cut(
    tmp_path, kind, point
):
    disk = tmp_path / "disk"
    (disk / "saved").mkdir(parents=True)
    power = PowerCut(disk, tmp_path / "store")
    environment = dict(power.environment)
    if point:
        environment["MONOLITH_TF_FAIL_AT"] = f"{point}:kill"
    done = run(PROGRAMS[kind], disk, -9 if point else 0, **environment)
    acknowledged = numbers(done, "acknowledged")
    assert acknowledged
    assert bool(point) == (len(acknowledged) < 3)
    power.cut()
    (restored,) = numbers(run(READ, disk), "restored")
    assert acknowledged[-1] <= restored <= acknowledged[-1] + 1


def test_left_over_directories_of_killed_saves_are_removed(tmp_path):
    left = tmp_path / "ckpt-7_temp"
    left.mkdir()
    (left / "part-00000-of-00001.data-00000-of-00001").write_bytes(b"rows")
    (tmp_path / "other_temp").mkdir()
    durable_files.remove_left_over(str(tmp_path))
    assert not left.exists()
    assert (tmp_path / "other_temp").exists()


def test_directories_of_a_live_save_stay(tmp_path):
    left = tmp_path / "ckpt-7_temp"
    left.mkdir()
    with durable_files.saving_in(str(tmp_path)):
        durable_files.remove_left_over(str(tmp_path))
        assert left.exists()
    durable_files.remove_left_over(str(tmp_path))
    assert not left.exists()


def test_a_failed_removal_releases_the_lock(tmp_path):
    (tmp_path / "ckpt-7_temp").mkdir()
    with failpoints.fail_at("checkpoint_files.before_remove:1:eio"):
        with pytest.raises(OSError, match="before_remove"):
            durable_files.remove_left_over(str(tmp_path))
    with open(tmp_path / "checkpoint.lock", "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_file_that_cannot_be_synced_leaves_the_old_one(tmp_path):
    path = tmp_path / "checkpoint"
    path.write_bytes(b"old")
    with failpoints.fail_at("checkpoint_files.before_state_fsync:1:enospc"):
        with pytest.raises(OSError, match="No space left"):
            durable_files.replace_durably(str(path), b"new")
    assert path.read_bytes() == b"old"
    durable_files.replace_durably(f"file://{path}", b"new")
    assert path.read_bytes() == b"new"


def test_other_file_systems_are_left_alone():
    durable_files.sync_checkpoint("ram://folder/ckpt-1")
    durable_files.remove_left_over("ram://folder")
    with durable_files.saving_in("ram://folder"):
        pass
    assert not durable_files.is_local("gs://bucket/ckpt-1")
    assert durable_files.is_local("file:///folder/ckpt-1")
