"""Metrics that a server exports while it serves."""

import json
import pathlib
import re
import urllib.request

import prometheus_client
import pytest
import tensorflow as tf

import monolith_tf as mt
import processes
from monolith_tf import ops
from monolith_tf.cluster import role_metrics
from monolith_tf.cluster.metrics_port import PORT_VARIABLE
from monolith_tf.placement.table_set import servers_of

PROGRAM = """
import sys
import tensorflow as tf
import monolith_tf as mt

strategy = mt.cluster.parameter_server_strategy()
with strategy.scope():
    table = mt.Table(mt.TableConfig("movie", dim=2))
for _ in range(3):
    table.apply_gradients(tf.range(10, dtype=tf.int64), tf.ones([10, 2]))
print("trained", flush=True)
sys.stdin.read()
import signal
signal.pause()
"""


def counters():
    registry = prometheus_client.CollectorRegistry()
    registry.register(mt.cluster.ServerCollector())
    return {
        f"{op}_{name}": registry.get_sample_value(
            f"monolith_server_{op}_{name}_total"
        )
        for op in ("lookup", "apply")
        for name in ("calls", "ids", "bytes", "seconds")
    }


def test_lookups_and_updates_of_the_process_are_counted():
    table = mt.Table(mt.TableConfig("movie", dim=2))
    ids = tf.range(10, dtype=tf.int64)
    before = counters()
    table.apply_gradients(ids, tf.ones([10, 2]))
    table.lookup(ids[:4])
    after = counters()
    grown = {name: after[name] - before[name] for name in after}
    assert grown["apply_calls"] == grown["lookup_calls"] == 1
    assert (grown["apply_ids"], grown["lookup_ids"]) == (10, 4)
    # Count and ids in, rows out; step, time, count, ids, counts, rate and
    # gradients in.
    assert grown["lookup_bytes"] == 8 * (1 + 4) + 4 * 8
    assert grown["apply_bytes"] == 8 * (3 + 20) + 4 * (1 + 20)
    assert 0 < grown["apply_seconds"] < 60


def test_no_call_is_running_when_none_is():
    registry = prometheus_client.CollectorRegistry()
    registry.register(mt.cluster.ServerCollector())
    table = mt.Table(mt.TableConfig("movie", dim=2))
    with pytest.raises(tf.errors.InvalidArgumentError):
        ops.lookup(
            servers_of(table.table_set)[0].handle,
            tf.constant([-1], tf.int64),
            tables=["movie"],
            dims=[2],
        )
    for op in ("lookup", "apply"):
        name = f"monolith_server_{op}_running"
        assert registry.get_sample_value(name) == 0


@pytest.mark.parametrize("text", ["x", "0", "65536", "-1"])
def test_a_port_that_is_none_is_refused(monkeypatch, text):
    monkeypatch.setenv(PORT_VARIABLE, text)
    with pytest.raises(ValueError, match=f"needs a port.*Received: '{text}'"):
        role_metrics.serve_role_metrics()


def test_without_a_port_nothing_is_served(monkeypatch):
    monkeypatch.delenv(PORT_VARIABLE, raising=False)
    assert role_metrics.serve_role_metrics() is None


@pytest.mark.e2e
@pytest.mark.slow
def test_a_server_tells_while_it_serves(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    job = processes.LaunchedJob(tmp_path, "--metrics", program)
    try:
        job.read_until("trained")
        cluster = pathlib.Path(tmp_path, "logs", "cluster.json").read_text()
        ports = {
            one["name"]: one["metrics_port"] for one in json.loads(cluster)
        }
        told = {}
        for name in ("ps 0", "worker 0"):
            url = f"http://localhost:{ports[name]}/metrics"
            with urllib.request.urlopen(url) as answer:
                told[name] = answer.read().decode()
        shown = processes.run(
            [*processes.MONOLITH_TF, "cluster-status", tmp_path / "logs"]
        )
    finally:
        job.close()
    assert "monolith_server_apply_calls_total 3.0" in told["ps 0"]
    assert "monolith_server_apply_ids_total 30.0" in told["ps 0"]
    assert "monolith_server_apply_running 0.0" in told["ps 0"]
    assert "monolith_server_apply_calls_total 0.0" in told["worker 0"]
    assert "monolith_worker_steps_total 0.0" in told["worker 0"]
    assert "process_resident_memory_bytes" in told["worker 0"]
    assert re.search(r"ps 0 \S+: alive, .* MB, 3 updates", shown.stdout)
