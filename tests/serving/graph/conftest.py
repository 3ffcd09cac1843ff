"""A replica without a model: two tables, two shards, two dense variables."""

from __future__ import annotations

import secrets

import numpy as np
import pytest
import tensorflow as tf

from monolith_tf.config import initializers
from monolith_tf.config.table_config import TableConfig
from monolith_tf.serving.graph.delta_control import DeltaControl
from monolith_tf.serving.graph.dense_copy import DenseCopy
from monolith_tf.serving.graph.serving_table import ServingTable

EXPORT_ID = 4242
GENERATIONS = [11, 22]
DIMS = [2, 3]


class Replica:
    """Calls the control functions as a client would."""

    def __init__(self, num_buckets=8):
        token = secrets.token_hex(8)
        self.tables = [
            ServingTable(
                TableConfig(name, dim, initializer=initializers.Constant(0.5)),
                shared_name=f"{token}_{name}",
                salt=secrets.randbits(63),
                num_buckets=num_buckets,
            )
            for name, dim in zip("ab", DIMS, strict=True)
        ]
        self.dense = DenseCopy(
            ["kernel:0", "step:0"],
            [np.array([[1.0, 2.0]], np.float32), np.array(3, np.int64)],
        )
        self.control = DeltaControl(
            self.tables,
            self.dense,
            export_id=EXPORT_ID,
            generations=GENERATIONS,
            mutex_name=f"{token}_mutex",
        )
        self._apply = self.control.apply_delta_function()
        self._status = self.control.status_function()

    def request(self, sequence=1, *, shard=0, rows=(), dense=b"", **header):
        """Inputs of a delta; `rows` is a {id: row or None} for each table."""
        generation = [*GENERATIONS, EXPORT_ID][min(shard, 2)]
        fields = {
            "format": 1,
            "export_id": EXPORT_ID,
            "generation": generation,
            "shard": shard,
            "num_shards": 2,
            "from_cut": 0,
            "to_cut": sequence,
            "sequence": sequence,
            **header,
        }
        inputs = {
            "header": np.array([list(fields.values())], np.int64),
            "dense": np.array([dense], object),
        }
        changes = [*rows, {}, {}]
        for i in range(2):
            ids = list(changes[i])
            values = [v for v in changes[i].values() if v is not None]
            inputs[f"ids_{i}"] = np.array([ids], np.int64)
            inputs[f"exists_{i}"] = np.array(
                [[int(changes[i][id_] is not None) for id_ in ids]], np.int64
            )
            inputs[f"rows_{i}"] = np.array(values, np.float32).reshape(1, -1)
        return inputs

    def send(self, inputs):
        outputs = self._apply(
            **{
                name: tf.constant(value, _DTYPES[name.partition("_")[0]])
                for name, value in inputs.items()
            }
        )
        return {name: value.numpy()[0] for name, value in outputs.items()}

    def apply(self, *args, **kwargs):
        return self.send(self.request(*args, **kwargs))

    def status(self):
        outputs = self._status(query=tf.zeros([1, 1], tf.int64))
        return {
            name: value.numpy().reshape(-1).tolist()
            for name, value in outputs.items()
        }

    def rows(self, ids, table=0):
        rows, live = self.tables[table].lookup(tf.constant(ids, tf.int64))
        return rows.numpy().tolist(), live.numpy().tolist()


class SessionReplica(Replica):
    """The same, saved, and run by a session as a C++ server does."""

    def __init__(self, path, num_buckets=8):
        super().__init__(num_buckets)
        root = tf.Module()
        root.parts = [*self.tables, self.dense, self.control]
        lookup = tf.function(self.tables[0].lookup, autograph=False)

        def lookup_named(ids):
            return dict(zip(("rows", "exists"), lookup(ids), strict=True))

        signatures = {
            "apply": self._apply,
            "status": self._status,
            "lookup": tf.function(lookup_named).get_concrete_function(
                ids=tf.TensorSpec([None], tf.int64)
            ),
        }
        tf.saved_model.save(root, str(path), signatures=signatures)
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        meta_graph = tf.compat.v1.saved_model.load(
            self._session, ["serve"], str(path)
        )
        self._signatures = meta_graph.signature_def

    def run(self, signature_name, **inputs):
        signature = self._signatures[signature_name]
        return self._session.run(
            {name: info.name for name, info in signature.outputs.items()},
            {signature.inputs[k].name: value for k, value in inputs.items()},
        )

    def send(self, inputs):
        outputs = self.run("apply", **inputs)
        return {name: value[0] for name, value in outputs.items()}

    def status(self):
        outputs = self.run("status", query=[[0]])
        return {n: value.reshape(-1).tolist() for n, value in outputs.items()}

    def rows(self, ids, table=0):
        assert table == 0
        outputs = self.run("lookup", ids=np.array(ids, np.int64))
        return outputs["rows"].tolist(), outputs["exists"].tolist()


_DTYPES = {
    "header": tf.int64,
    "ids": tf.int64,
    "exists": tf.int64,
    "rows": tf.float32,
    "dense": tf.string,
}


@pytest.fixture(params=["function", "session"])
def served_replica(request, tmp_path):
    """Small tables that grow, in both ways that an export is run."""
    if request.param == "function":
        return Replica(num_buckets=4)
    return SessionReplica(tmp_path / "model", num_buckets=4)


@pytest.fixture
def replica():
    return Replica()


@pytest.fixture(scope="module")
def unchanged_replica():
    """One for all tests that see it refuse everything."""
    return Replica()
