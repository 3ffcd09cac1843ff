"""TensorFlow's own C++ loads the export, predicts, and applies a delta.

The child process imports neither TensorFlow's Python nor this library: what it
runs is the path that TensorFlow Serving takes.
"""

from __future__ import annotations

import json
import pathlib
import sys

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tensorflow.core.protobuf import saved_model_pb2

import monolith_tf as mt
import processes
from monolith_tf import serving
from monolith_tf.placement.registry import tables_of

CLIENT = pathlib.Path(__file__).with_name("c_api_client.py")
RESERVED_ID = 0x6D6F6E6F6C697468

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def model():
    ids = tf_keras.Input([], dtype="int64", name="movie_id")
    config = mt.TableConfig("movie", 2, seed=7)
    with mt.TableSet():
        rows = mt.layers.DynamicEmbedding(config)(ids)
    score = tf_keras.layers.Dense(1, name="score")(rows)
    return tf_keras.Model({"movie_id": ids}, score)


class Plan:
    """Runs of a child process, written by names of signatures."""

    def __init__(self, path):
        saved_model = saved_model_pb2.SavedModel()
        saved_model.ParseFromString(
            pathlib.Path(path, "saved_model.pb").read_bytes()
        )
        self._signatures = saved_model.meta_graphs[0].signature_def
        self._path = str(path)
        self._runs = []
        self._outputs = []

    def add(self, signature_name, **inputs):
        signature = self._signatures[signature_name]
        names = sorted(signature.outputs)
        self._outputs.append(names)
        self._runs.append(
            {
                "feeds": {
                    signature.inputs[name].name: encoded(value)
                    for name, value in inputs.items()
                },
                "fetches": [signature.outputs[name].name for name in names],
            }
        )

    def run(self):
        library = pathlib.Path(tf.sysconfig.get_lib())
        job = {
            "library_directory": str(library),
            "saved_model": self._path,
            "runs": self._runs,
        }
        # -I: neither this folder nor the environment can add modules.
        child = processes.run(
            [sys.executable, "-I", CLIENT], input=json.dumps(job)
        )
        answer = json.loads(child.stdout)
        assert answer["imported"] == []
        return [
            {
                name: decoded(value)
                for name, value in zip(names, values, strict=True)
            }
            for names, values in zip(
                self._outputs, answer["results"], strict=True
            )
        ]


def encoded(value):
    if isinstance(value, bytes):
        return {"dtype": "string", "shape": [1], "data": value.hex()}
    return {
        "dtype": value.dtype.name,
        "shape": list(value.shape),
        "data": value.tobytes().hex(),
    }


def decoded(value):
    data = bytes.fromhex(value["data"])
    if value["dtype"] == "string":
        return data
    return np.frombuffer(data, value["dtype"]).reshape(value["shape"])


def delta_of(record, sequence, shard, ids=(), live=(), rows=(), dense=b""):
    generation = [*record.generations, record.export_id][shard]
    header = [1, record.export_id, generation, shard, 1, 0, sequence, sequence]
    return {
        "header": np.array([header], np.int64),
        "ids_0": np.array([ids], np.int64),
        "exists_0": np.array([live], np.int64),
        "rows_0": np.array(rows, np.float32).reshape(1, -1),
        "dense": dense,
    }


def test_the_c_api_predicts_and_applies_deltas(model, tmp_path):
    (table,) = tables_of(model)
    ids = np.array([1, 2, 3, RESERVED_ID, -1], np.int64)
    table.assign(ids[:2], [[1.0, 2.0], [3.0, 4.0]])
    record = serving.export_saved_model(model, tmp_path)
    before = model(tf.constant(ids)).numpy()

    # The trainer goes on: a new id, a changed one, a removed one, the dense.
    table.assign(ids[[0, 3]], [[-1.0, -2.0], [5.0, 6.0]])
    table.remove(ids[1:2])
    kernel, bias = serving.dense_variables(model)
    kernel.assign([[10.0], [100.0]])
    bias.assign([0.25])
    after = model(tf.constant(ids)).numpy()
    assert not np.array_equal(before, after)

    query = np.zeros([1, 1], np.int64)
    rows = delta_of(
        record,
        1,
        0,
        ids=ids[[0, 3, 1]],
        live=[1, 1, 0],
        rows=[[-1.0, -2.0], [5.0, 6.0]],
    )
    dense = delta_of(
        record, 1, 1, dense=kernel.numpy().tobytes() + bias.numpy().tobytes()
    )
    early = delta_of(record, 3, 0, ids=[9], live=[1], rows=[[9.0, 9.0]])
    plan = Plan(record.path)
    plan.add("serving_default", movie_id=ids)
    plan.add("monolith_status", query=query)
    for delta in (rows, dense, rows, early):
        plan.add("monolith_apply_delta", **delta)
    plan.add("serving_default", movie_id=ids)
    plan.add("monolith_status", query=query)
    plan.add("monolith_lookup_0", ids=ids)
    first, fresh, *applied, last, final, looked_up = plan.run()

    np.testing.assert_array_equal(first["score"], before)
    assert fresh["last_sequences"].tolist() == [[0, 0]]
    assert fresh["live_rows"].tolist() == [[2]]
    assert [int(outputs["status"][0]) for outputs in applied] == [0, 0, 1, 2]
    assert [int(outputs["applied_rows"][0]) for outputs in applied] == [
        3,
        0,
        0,
        0,
    ]
    assert applied[3]["message"].startswith(b"sequence is 3, expected 2;")
    np.testing.assert_array_equal(last["score"], after)
    assert final["last_sequences"].tolist() == [[1, 1]]
    assert final["live_rows"].tolist() == [[2]]
    assert final["dead_rows"].tolist() == [[1]]
    assert looked_up["exists"].tolist() == [1, 0, 0, 1, 0]
    np.testing.assert_array_equal(
        looked_up["rows"], table.lookup(tf.constant(ids)).numpy()
    )


def test_a_second_process_starts_from_the_files(model, tmp_path):
    record = serving.export_saved_model(model, tmp_path)
    delta = delta_of(record, 1, 0, ids=[5], live=[1], rows=[[1.0, 1.0]])
    for _ in range(2):
        plan = Plan(record.path)
        plan.add("monolith_apply_delta", **delta)
        (applied,) = plan.run()
        assert applied["status"].tolist() == [0]
        assert applied["expected_sequence"].tolist() == [2]
