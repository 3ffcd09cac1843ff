"""Programs written for tf.estimator run with another import."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
import tensorflow as tf

import monolith_tf as mt

HERE = pathlib.Path(__file__).parent
DEADLINE_SECONDS = 240


def run(name, *arguments, **environment):
    done = subprocess.run(
        [sys.executable, str(HERE / name), *map(str, arguments)],
        cwd=arguments[0].parent,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    return done.returncode, done.stdout, done.stderr


def number(output, name):
    return float(re.search(rf"^{name} (\S+)", output, re.MULTILINE)[1])


@pytest.mark.slow
def test_a_custom_model_fn_with_v1_layers(tmp_path):
    code, output, error = run(
        "ported_custom_program.py",
        tmp_path / "model",
        TF_USE_LEGACY_KERAS="1",
    )
    assert code == 0, error[-3000:]
    assert number(output, "accuracy") > 0.95
    assert number(output, "predictions") == 512


@pytest.mark.slow
def test_v1_layers_without_legacy_keras_say_what_to_set(tmp_path):
    code, _, error = run(
        "ported_custom_program.py",
        tmp_path / "model",
        TF_USE_LEGACY_KERAS="0",
    )
    assert code != 0
    assert "Set TF_USE_LEGACY_KERAS=1" in error


@pytest.mark.slow
def test_a_canned_estimator_with_a_parsing_receiver(tmp_path):
    code, output, error = run(
        "ported_canned_program.py", tmp_path / "model", tmp_path / "export"
    )
    assert code == 0, error[-3000:]
    assert number(output, "auc") > 0.95
    assert number(output, "probability") > 0.5


@pytest.mark.e2e
@pytest.mark.slow
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
            code = tasks[task].wait(DEADLINE_SECONDS)
            assert code == 0, tasks[task]._last_lines()
    (version,) = os.listdir(tmp_path / "model/export/final")
    path = str(tmp_path / "model/export/final" / version)
    serve = tf.saved_model.load(path).signatures["serving_default"]
    found = serve(movie=tf.constant([3, 4], tf.int64))["probability"].numpy()
    assert found[0] > 0.5 > found[1]
