"""Servers, clients and pushers, and the comparison of every delivery."""

import os

import numpy as np
import pytest
import tensorflow as tf

from monolith_tf.serving.client import PredictionClient
from monolith_tf.serving.pusher import DeltaPusher
from monolith_tf.serving.pusher import PushOptions
from monolith_tf.serving.server import ModelServer
from monolith_tf.serving.status import read_status
from processes import DEADLINE_SECONDS
from small_trainer import make_small_trainer

MODEL = "ranker"


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
        clients.append(
            PredictionClient(
                f"127.0.0.1:{server.port}", timeout_seconds=DEADLINE_SECONDS
            )
        )
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
        options.setdefault("timeout_seconds", DEADLINE_SECONDS)
        options.setdefault("flush_timeout_seconds", DEADLINE_SECONDS)
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
def deliver(trainer, base_path, make_server, make_pusher):
    """Exports the trainer; starts a server of the export, and its pusher."""

    def start(**options):
        record = trainer.export(base_path)
        server = make_server()
        return server, make_pusher(server, record, **options)

    return start


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
            live = {int(one) for one in ids[outputs["exists"] != 0]}
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
