"""Programs written for tf.estimator run with another import."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import sys

import tensorflow as tf

import monolith_tf as mt
import processes

HERE = pathlib.Path(__file__).parent


def run(name, *arguments, **environment):
    done = processes.run(
        [*processes.PYTHON, HERE / name, *arguments],
        code=None,
        cwd=arguments[0].parent,
        env={**os.environ, **environment},
    )
    return done.returncode, done.stdout, done.stderr


def number(output, name):
    return float(re.search(rf"^{name} (\S+)", output, re.MULTILINE)[1])


def test_a_custom_model_fn_with_v1_layers(tmp_path):
    code, output, error = run(
        "ported_custom_program.py",
        tmp_path / "model",
        TF_USE_LEGACY_KERAS="1",
    )
    assert code == 0, error[-3000:]
    assert number(output, "accuracy") > 0.95
    assert number(output, "predictions") == 512


def test_a_canned_estimator_with_a_parsing_receiver(tmp_path):
    code, output, error = run(
        "ported_canned_program.py", tmp_path / "model", tmp_path / "export"
    )
    assert code == 0, error[-3000:]
    assert number(output, "auc") > 0.95
    assert number(output, "probability") > 0.5


def test_train_and_evaluate_of_a_cluster(tmp_path):
    roles = [("chief", 0), ("worker", 0), ("ps", 0), ("ps", 1)]
    ports = mt.cluster.pick_free_ports(len(roles))
    cluster: dict = {}
    for (role, _), port in zip(roles, ports):
        cluster.setdefault(role, []).append(f"localhost:{port}")

    def start(role, index):
        task = {"type": role, "index": index}
        return mt.cluster.ChildProcess(
            f"{role} {index}",
            [sys.executable, str(HERE / "ported_cluster_program.py")]
            + [str(tmp_path / "model"), "200"],
            tmp_path / f"{role}-{index}.log",
            {"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})},
        )

    with contextlib.ExitStack() as stack:
        tasks = {
            task: stack.enter_context(start(*task))
            for task in [*roles, ("evaluator", 0)]
        }
        for task in [("chief", 0), ("worker", 0), ("evaluator", 0)]:
            code = tasks[task].wait(processes.DEADLINE_SECONDS)
            assert code == 0, tasks[task]._last_lines()
    (version,) = os.listdir(tmp_path / "model/export/final")
    path = str(tmp_path / "model/export/final" / version)
    serve = tf.saved_model.load(path).signatures["serving_default"]
    found = serve(movie=tf.constant([3, 4], tf.int64))["probability"].numpy()
    assert found[0] > 0.5 > found[1]
