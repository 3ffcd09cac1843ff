"""Estimators on real parameter servers."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import pathlib
import sys

import numpy as np
import pytest

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
