"""A chief that comes back restores under a worker that trains.

Servers are slow to begin the restore and to import rows, so that the worker has
every chance to train half a model.
"""

import importlib.util
import json
import os
import pathlib
import signal
import sys

import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf import estimators
from processes import DEADLINE_SECONDS
from processes import wait_until

PROGRAM = pathlib.Path(__file__).with_name("restore_under_workers_program.py")
NUM_PS = 2
# 32 groups per server, one after the other: about 2 s.
SLOW = "begin_restore.before::sleep=0.5,import_rows.before::sleep=0.06"


@pytest.fixture(scope="module")
def program():
    spec = importlib.util.spec_from_file_location("restore", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Tasks:
    """The processes of a cluster with one worker besides the chief."""

    def __init__(self, directory):
        self._directory = directory
        ports = mt.cluster.pick_free_ports(NUM_PS + 2)
        addresses = [f"localhost:{port}" for port in ports]
        self._cluster = {
            "ps": addresses[:NUM_PS],
            "chief": addresses[NUM_PS : NUM_PS + 1],
            "worker": addresses[NUM_PS + 1 :],
        }
        self.running = {}
        for role, found in self._cluster.items():
            for index in range(len(found)):
                self.start(role, index)

    def start(self, role, index=0):
        task = {"type": role, "index": index}
        environment = {
            "TF_CONFIG": json.dumps({"cluster": self._cluster, "task": task}),
            "TF_CPP_MIN_LOG_LEVEL": "1",
        }
        if role == "ps":
            environment["MONOLITH_TF_FAIL_AT"] = SLOW
        self.running[role, index] = mt.cluster.ChildProcess(
            f"{role} {index}",
            [sys.executable, str(PROGRAM), str(self._directory)],
            self._directory / f"{role}-{index}.log",
            environment,
        )
        return self.running[role, index]

    def close(self):
        for process in self.running.values():
            process.stop()

    def are_there(self):
        for process in self.running.values():
            process.check()
        return True


def seen(directory, worker):
    """Returns per process of a worker which steps read untrained rows."""
    return {
        path: [int(line) for line in path.read_text().split()]
        for path in directory.glob(f"seen-{worker}-*")
    }


def last_step(directory):
    saved = tf.train.latest_checkpoint(directory / "model")
    return -1 if saved is None else int(saved.rpartition("-")[2])


def rows_of(program, directory):
    with mt.TableSet():
        table = mt.Table(program.table_config())
    mt.checkpoint.restore_tables(table, directory / "model")
    return [row for _, rows in table.export() for row in rows.tolist()]


def test_workers_wait_for_the_restore_of_a_chief_that_comes_back(
    program, tmp_path
):
    tasks = Tasks(tmp_path)
    try:
        wait_until(
            lambda: last_step(tmp_path) >= 40 and any(seen(tmp_path, 1)),
            tasks.are_there,
        )
        for _ in range(2):
            ((_, of_worker),) = seen(tmp_path, 1).items()
            before = len(of_worker)
            chief = tasks.running["chief", 0]
            os.kill(chief.pid, signal.SIGKILL)
            chief.wait(DEADLINE_SECONDS)
            saved = last_step(tmp_path)
            # The worker goes on alone, and all that will be taken back.
            wait_until(
                lambda before=before: (
                    len(*seen(tmp_path, 1).values()) > before + 30
                ),
                tasks.running["worker", 0].is_running,
            )
            tasks.start("chief")
            wait_until(
                lambda saved=saved: last_step(tmp_path) > saved + 20,
                tasks.are_there,
            )
        (tmp_path / "stop").touch()
        for task in ("chief", "worker"):
            assert tasks.running[task, 0].wait(DEADLINE_SECONDS) == 0
    finally:
        tasks.close()
    # Each worker may begin with initial rows, and none reads them later.
    lives = [*seen(tmp_path, 0).values(), *seen(tmp_path, 1).values()]
    assert all(not any(life[life.index(0) :]) for life in lives)
    assert sorted(map(sum, lives))[:2] == [0, 0]
    reader = estimators.Estimator(program.model_fn, tmp_path / "model")
    assert reader.get_variable_value("untrained") == sum(map(sum, lives))
    steps = reader.get_variable_value("steps")
    rows = rows_of(program, tmp_path)
    assert len(rows) == program.IDS
    assert all(level <= 1.0 for level, _ in rows)
    # Of each restore at most the step that the worker had begun before it is in
    # a dense variable and in no row.
    counts = {count - program.INITIAL for _, count in rows}
    assert all(0 <= steps - count <= 2 for count in counts), (steps, counts)
