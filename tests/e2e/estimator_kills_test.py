"""Processes of an Estimator are killed at random moments, and nobody helps.

Deltas flow to a model server all the while. MONOLITH_TF_KILLS says how often
each role is killed; `make soak` asks for 20.
"""

import importlib.util
import json
import os
import pathlib
import random
import re
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf.serving.client import PredictionClient
from monolith_tf.serving.export_record import ExportRecord
from monolith_tf.serving.server import ModelServer
from monolith_tf.serving.status import read_status
from processes import DEADLINE_SECONDS
from processes import LaunchedJob
from processes import wait_until

PROGRAM = pathlib.Path(__file__).with_name("estimator_kills_program.py")
KILLS = int(os.environ.get("MONOLITH_TF_KILLS", "1"))


@pytest.fixture(scope="module")
def program():
    spec = importlib.util.spec_from_file_location("estimator_kills", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows_of(program, checkpoint):
    with mt.TableSet():
        table = mt.Table(program.table_config())
    mt.checkpoint.restore_tables(table, checkpoint)
    return {
        id_: row
        for ids, rows in table.export()
        for id_, row in zip(ids.tolist(), rows.tolist())
    }


def wait_until_servers_apply(job, directory):
    """Waits until both servers of a running job have taken updates."""
    cluster = json.loads((directory / "logs/cluster.json").read_text())
    servers = [task for task in cluster if task["name"].startswith("ps")]
    assert len(servers) == 2
    for task in servers:
        url = f"http://localhost:{task['metrics_port']}/metrics"
        wait_until(lambda url=url: applied_on(url) > 0, job.is_running)


def applied_on(url):
    """Returns the updates that a server has taken; 0 while it starts."""
    try:
        text = (
            urllib.request.urlopen(url, timeout=DEADLINE_SECONDS)
            .read()
            .decode()
        )
    except urllib.error.URLError:
        return 0
    name = "monolith_server_apply_calls_total"
    return float(re.search(rf"^{name} (\S+)", text, re.M)[1])


def step_of(checkpoint):
    return int(checkpoint.rpartition("-")[2])


def test_training_and_deltas_go_on_whoever_is_killed(program, tmp_path):
    moments = random.Random(4)
    victims = KILLS * ["ps 0", "ps 1", "chief 0", "worker 0"]
    moments.shuffle(victims)
    (port,) = mt.cluster.pick_free_ports(1)
    job = LaunchedJob(
        tmp_path,
        *("--mode=estimator", "--num_ps=2", "--num_workers=1", "--metrics"),
        *(f"--max_restarts={KILLS}", PROGRAM, tmp_path, port),
    )
    server = None
    try:
        job.read_until("step ")
        server = ModelServer({"ranker": str(tmp_path / "versions")}, port=port)
        for victim in victims:
            # At any moment of a step, a checkpoint or a delta.
            threading.Event().wait(moments.uniform(0.0, 1.0))
            before = tf.train.latest_checkpoint(tmp_path / "model")
            kept, step = rows_of(program, before), step_of(before)
            job.kill(victim)
            job.read_until(f"restarting {victim}")
            while int(job.read_until("step ").split()[-1]) <= step:
                pass
        wait_until_servers_apply(job, tmp_path)
        (tmp_path / "stop").touch()
        job.finish()
        saved = tf.train.latest_checkpoint(tmp_path / "model")
        rows = rows_of(program, saved)
        # Gradients are positive: what was saved before can only have grown.
        assert step_of(saved) > step
        assert all(rows[id_][0] <= row[0] for id_, row in kept.items())
        records = [
            ExportRecord.load(path)
            for path in (tmp_path / "versions").iterdir()
        ]
        # A restore is another history: its deltas go to an export of its own,
        # which one that was killed at once did not get as far as.
        generations = {tuple(record.generations) for record in records}
        assert len(generations) > 1
        last = max(records, key=lambda record: record.version)
        ids = np.array(sorted(rows), np.int64)
        with PredictionClient(f"127.0.0.1:{port}") as client:
            reply = client.predict("ranker", {"movie": ids})
            status = read_status(client, "ranker")
        assert status.version == last.version
        assert status.generations[:2] == tuple(last.generations)
        # No id is lost, none is twice, and each row is that of the model.
        assert status.live_rows == (len(rows),)
        assert len(rows) == program.NUM_IDS
        expected = [rows[id_] for id_ in ids.tolist()]
        np.testing.assert_array_equal(reply.outputs["rows"], expected)
        bias = tf.train.load_variable(saved, "bias")
        assert (reply.outputs["bias"] == bias).all()
    finally:
        job.close()
        if server is not None:
            server.close()
