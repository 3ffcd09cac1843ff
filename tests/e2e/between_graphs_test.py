"""Estimators on real parameter servers: every row is an exact sum."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import json
import os
import pathlib
import random
import signal
import sys
import threading
import time

import numpy as np
import pytest

import monolith_tf as mt
from monolith_tf import estimators
from monolith_tf.placement.sharding import owners_of
from processes import DEADLINE_SECONDS

PROGRAM = pathlib.Path(__file__).with_name("between_graphs_program.py")
NUM_PS = 2
# More of them than 2 make the choices of the last test too many.
KILLS = min(2, int(os.environ.get("MONOLITH_TF_KILLS", "1")))


@pytest.fixture(scope="module")
def program():
    spec = importlib.util.spec_from_file_location("between_graphs", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Cluster:
    """Starts the tasks of a cluster, each a process."""

    def __init__(self, directory, num_workers, arguments):
        self._directory = directory
        self._arguments = arguments
        ports = iter(mt.cluster.pick_free_ports(NUM_PS + num_workers))
        counts = {"chief": 1, "worker": num_workers - 1, "ps": NUM_PS}
        self.cluster = {
            role: [f"localhost:{next(ports)}" for _ in range(count)]
            for role, count in counts.items()
        }

    @property
    def tasks(self):
        return [
            (role, index)
            for role, addresses in self.cluster.items()
            for index in range(len(addresses))
        ]

    def start(self, role, index):
        task = {"type": role, "index": index}
        return mt.cluster.ChildProcess(
            f"{role} {index}",
            [sys.executable, str(PROGRAM), str(self._directory)]
            + [str(argument) for argument in self._arguments],
            self._directory / f"{role}-{index}.log",
            {
                "TF_CONFIG": json.dumps(
                    {"cluster": self.cluster, "task": task}
                ),
                "TF_CPP_MIN_LOG_LEVEL": "1",
            },
        )


def finish(tasks):
    """Waits for the end of all that train."""
    for (role, _), task in tasks.items():
        if role != "ps":
            assert task.wait(DEADLINE_SECONDS) == 0, task._last_lines()


def saved(program, directory):
    """The rows of the last checkpoint by id, and a reader of its variables."""
    with mt.TableSet():
        table = mt.Table(program.table_config())
    mt.checkpoint.restore_tables(table, directory / "model")
    rows = {}
    for ids, values in table.export():
        rows.update(zip(ids.tolist(), values.tolist()))
    model_fn = program.model_fn
    return rows, estimators.Estimator(model_fn, directory / "model")


def test_every_row_is_its_sum_though_sessions_fail(program, tmp_path):
    steps, num_workers = 60, 2
    cluster = Cluster(tmp_path, num_workers, [steps, "fail"])
    with contextlib.ExitStack() as stack:
        tasks = {
            task: stack.enter_context(cluster.start(*task))
            for task in cluster.tasks
        }
        finish(tasks)
    rows, reader = saved(program, tmp_path)
    expected = program.sums(
        batch
        for worker in range(num_workers)
        for batch in program.batches(worker, steps)
    )
    assert rows == {id_: [sum_, sum_] for id_, sum_ in expected.items()}
    # Dense variables know no request ids: a step that runs again moves them.
    made = num_workers * (steps + len(program.FAILURES))
    assert reader.get_variable_value("global_step") == made
    assert reader.get_variable_value("bias") == -made


def steps_of(directory, worker):
    """Returns the batches that each process of this worker finished."""
    return {
        path: len(path.read_text().splitlines())
        for path in sorted(directory.glob(f"steps-{worker}-*"))
    }


def wait_for_steps(directory, worker, known, number, process):
    """Waits until a process that is not known has finished some steps."""
    pause = threading.Event()
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        found = steps_of(directory, worker)
        for path in found.keys() - known:
            if found[path] >= number:
                return path
        process.check()
        pause.wait(0.002)
    raise AssertionError(f"no step {number} of worker {worker}")


def test_every_row_is_its_sum_though_a_worker_is_killed(program, tmp_path):
    steps, num_workers, victim = 300, 3, ("worker", 1)
    moments = random.Random(7)
    cluster = Cluster(tmp_path, num_workers, [steps])
    with contextlib.ExitStack() as stack:
        tasks = {
            task: stack.enter_context(cluster.start(*task))
            for task in cluster.tasks
        }
        lives = []
        for _ in range(KILLS):
            number = moments.randrange(1, steps // 2)
            process = tasks[victim]
            lives.append(wait_for_steps(tmp_path, 2, lives, number, process))
            os.kill(process.pid, signal.SIGKILL)
            process.wait(DEADLINE_SECONDS)
            tasks[victim] = stack.enter_context(cluster.start(*victim))
        finish(tasks)
    rows, reader = saved(program, tmp_path)
    done = steps_of(tmp_path, 2)
    assert sum(number < steps for number in done.values()) == KILLS
    under_way = []
    found = [program.batches(worker, steps) for worker in (0, 1)]
    for number in done.values():
        found.append(program.batches(2, number))
        if number < steps:
            *_, batch = program.batches(2, number + 1)
            under_way.append(batch)
    expected = program.sums(batch for batches in found for batch in batches)
    # A step that was under way when its worker was killed may be on both
    # servers, on one, or on none.
    ids = np.array(sorted(expected))
    owner = dict(
        zip(
            ids.tolist(),
            owners_of(ids, NUM_PS).numpy().tolist(),
        )
    )
    lost = [program.sums([batch]) for batch in under_way]
    for server in range(NUM_PS):
        mine = [id_ for id_ in ids.tolist() if owner[id_] == server]
        choices = [
            [
                expected[id_] + sum(part.get(id_, 0.0) for part in parts)
                for id_ in mine
            ]
            for size in range(len(lost) + 1)
            for parts in itertools.combinations(lost, size)
        ]
        for column in range(program.DIM):
            assert [rows[id_][column] for id_ in mine] in choices
    made = 2 * steps + sum(done.values())
    assert 0 <= reader.get_variable_value("global_step") - made <= KILLS
