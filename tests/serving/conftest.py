"""A small trainer, a server, and the comparison that all delivery ends in."""

import dataclasses
import os

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf.serving import export_saved_model
from monolith_tf.serving.client import PredictionClient
from monolith_tf.serving.pusher import DeltaPusher
from monolith_tf.serving.pusher import PushOptions
from monolith_tf.serving.server import ModelServer
from monolith_tf.serving.status import read_status

MODEL = "ranker"


@dataclasses.dataclass
class Trainer:
    """A model over two tables on two shards."""

    model: tf_keras.Model
    tables: dict

    def change(self, seed, num_ids=64):
        """Rows, a tombstone and a dense variable change."""
        random = np.random.default_rng(seed)
        for table in self.tables.values():
            ids = random.choice(500, num_ids, replace=False).astype(np.int64)
            rows = random.normal(size=(num_ids, table.dim))
            table.assign(tf.constant(ids), tf.constant(rows, tf.float32))
            table.remove(tf.constant(ids[:3]))
        kernel = self.model.layers[-1].kernel
        kernel.assign_add(tf.fill(kernel.shape, 0.5))

    def export(self, directory):
        return export_saved_model(self.model, directory, expected_rows=2000)


def make_small_trainer(num_shards=2):
    """A trainer with tables of its own."""
    with mt.TableSet(num_shards=num_shards):
        inputs, vectors, tables = {}, [], {}
        for name, dim in (("movie", 3), ("user", 2)):
            config = mt.TableConfig(
                name,
                dim=dim,
                optimizer=mt.optimizers.Adagrad(learning_rate=0.1),
                initializer=mt.initializers.RandomUniform(-0.1, 0.1),
                seed=dim,
            )
            layer = mt.layers.DynamicEmbedding(config)
            inputs[name] = tf_keras.Input([], dtype="int64", name=name)
            vectors.append(layer(inputs[name]))
            tables[name] = layer.tables[0]
        joined = tf_keras.layers.Concatenate()(vectors)
        score = tf_keras.layers.Dense(1, name="score")(joined)
        return Trainer(tf_keras.Model(inputs, {"score": score}), tables)


@pytest.fixture
def make_trainer():
    return make_small_trainer


@pytest.fixture
def trainer(make_trainer):
    return make_trainer()


@pytest.fixture
def base_path(tmp_path):
    """Where the exports are, the server looks, and versions appear."""
    path = tmp_path / "models"
    path.mkdir()
    return str(path)


@pytest.fixture
def make_server(base_path):
    """Starts servers of the exports; on a given port, a restarted one."""
    servers = []

    def make(port=0, **arguments):
        servers.append(
            ModelServer(
                {MODEL: base_path}, port=port, poll_seconds=0.05, **arguments
            )
        )
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def make_client():
    clients = []

    def make(server):
        clients.append(PredictionClient(f"127.0.0.1:{server.port}"))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def make_pusher(trainer, base_path, tmp_path):
    """Makes pushers that export anew when they must."""
    pushers = []

    def make(server, record, source=None, can_export=True, **options):
        source = source or trainer
        options.setdefault("timeout_seconds", 5.0)
        options.setdefault("max_attempts", 2)
        options.setdefault("verify_seconds", 1e-3)
        pushers.append(
            DeltaPusher(
                source.model,
                server
                if isinstance(server, str)
                else f"127.0.0.1:{server.port}",
                MODEL,
                os.path.join(tmp_path, "log"),
                record,
                export_fn=(lambda: source.export(base_path))
                if can_export
                else None,
                interval_seconds=0.01,
                options=PushOptions(**options),
            )
        )
        return pushers[-1]

    yield make
    for pusher in pushers:
        pusher.close(flush=False)


@pytest.fixture
def assert_equal():
    """Every row, unseen id and dense variable, bit for bit."""

    def check(client, source, version=None):
        ids = np.arange(600, dtype=np.int64)
        for i, (_, table) in enumerate(sorted(source.tables.items())):
            outputs = client.predict(
                MODEL, {"ids": ids}, f"monolith_lookup_{i}", version
            ).outputs
            np.testing.assert_array_equal(
                outputs["rows"], table.lookup(tf.constant(ids)).numpy()
            )
            live = {int(one) for one in ids[outputs["live"] != 0]}
            assert live == {
                int(one) for some, _ in table.export(1000) for one in some
            }
        inputs = {name: tf.constant(ids) for name in source.tables}
        served = client.predict(
            MODEL, {name: ids for name in inputs}, version=version
        )
        np.testing.assert_allclose(
            served.outputs["score"],
            source.model(inputs)["score"].numpy(),
            rtol=1e-6,
            atol=1e-6,
        )

    return check


@pytest.fixture
def last_sequences():
    def read(client, version=None):
        return read_status(client, MODEL, version).last_sequences

    return read
