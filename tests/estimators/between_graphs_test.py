"""Estimators on real parameter servers."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import pathlib
import signal
import sys
import threading
import time

import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf import estimators

PROGRAM = pathlib.Path(__file__).with_name("between_graphs_program.py")
STEPS = 60
DEADLINE_SECONDS = 240


@pytest.fixture(scope="module")
def program():
    spec = importlib.util.spec_from_file_location("between_graphs", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Cluster:
    """Starts the tasks of a cluster, each a process."""

    def __init__(self, directory, num_ps, num_workers, arguments):
        self._directory = directory
        self._arguments = arguments
        ports = iter(estimators.pick_free_ports(num_ps + num_workers))
        counts = {"chief": 1, "worker": num_workers - 1, "ps": num_ps}
        self.cluster = {
            role: [f"localhost:{next(ports)}" for _ in range(count)]
            for role, count in counts.items()
        }

    def start(self, role, index):
        environment = {
            "TF_CONFIG": json.dumps(
                {
                    "cluster": self.cluster,
                    "task": {"type": role, "index": index},
                }
            ),
            "TF_CPP_MIN_LOG_LEVEL": "1",
        }
        return estimators.ChildProcess(
            f"{role} {index}",
            [sys.executable, str(PROGRAM), str(self._directory)]
            + [str(argument) for argument in self._arguments],
            self._directory / f"{role}-{index}.log",
            environment,
        )


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [2, 4])
def test_every_row_is_its_sum(program, tmp_path, num_workers):
    cluster = Cluster(tmp_path, 2, num_workers, [STEPS])
    with contextlib.ExitStack() as stack:
        for index in range(2):
            stack.enter_context(cluster.start("ps", index))
        workers = [
            stack.enter_context(cluster.start("worker", index))
            for index in range(num_workers - 1)
        ]
        workers.append(stack.enter_context(cluster.start("chief", 0)))
        for worker in workers:
            assert worker.wait(DEADLINE_SECONDS) == 0, worker._last_lines()
    expected = program.sums(range(num_workers), STEPS)
    with mt.TableSet():
        table = mt.Table(program.table_config())
    mt.restore_tables(table, tmp_path / "model")
    assert table.size() == len(expected)
    for ids, rows in table.export():
        sums = np.array([expected[int(id_)] for id_ in ids], np.float32)
        np.testing.assert_array_equal(rows, sums[:, None] * [1.0, 1.0])
    reader = estimators.Estimator(program.model_fn, tmp_path / "model")
    assert reader.get_variable_value("global_step") == num_workers * STEPS
    assert reader.get_variable_value("bias") == -num_workers * STEPS


def saved_rows(program, checkpoint):
    with mt.TableSet():
        table = mt.Table(program.table_config())
    mt.restore_tables(table, checkpoint)
    rows = {}
    for ids, values in table.export():
        rows.update(zip(ids.tolist(), values.tolist()))
    return rows


def checkpoint_beyond(directory, step, processes):
    """Waits for a checkpoint; returns its path and its step."""
    pause = threading.Event()
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        latest = tf.train.latest_checkpoint(directory)
        if latest and int(latest.rpartition("-")[2]) >= step:
            return latest, int(latest.rpartition("-")[2])
        for process in processes:
            process.check()
        pause.wait(0.05)
    raise AssertionError(f"no checkpoint of step {step} in {directory}")


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize("role", ["ps", "worker", "chief"])
def test_training_goes_on_after_a_process_was_killed(program, tmp_path, role):
    steps = 800
    cluster = Cluster(tmp_path, 2, 2, [steps, 50])
    model = tmp_path / "model"
    with contextlib.ExitStack() as stack:
        tasks = {
            task: stack.enter_context(cluster.start(*task))
            for task in [("ps", 0), ("ps", 1), ("worker", 0), ("chief", 0)]
        }
        before, step = checkpoint_beyond(model, 150, tasks.values())
        kept = saved_rows(program, before)
        victim = (role, 1 if role == "ps" else 0)
        os.kill(tasks[victim].pid, signal.SIGKILL)
        tasks[victim].wait(DEADLINE_SECONDS)
        tasks[victim] = stack.enter_context(cluster.start(*victim))
        for task in [("worker", 0), ("chief", 0)]:
            code = tasks[task].wait(DEADLINE_SECONDS)
            assert code == 0, tasks[task]._last_lines()
    after = saved_rows(program, model)
    # Gradients are positive: what was saved before can only have grown.
    assert len(after) == program.NUM_IDS
    assert all(after[id_][0] <= row[0] for id_, row in kept.items())
    reader = estimators.Estimator(program.model_fn, model)
    assert reader.get_variable_value("global_step") > step
