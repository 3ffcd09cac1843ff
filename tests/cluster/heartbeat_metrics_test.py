"""Prometheus metrics of the roles that a process watches."""

import urllib.request

import fake_roles
import prometheus_client

from monolith_tf.cluster import HeartbeatCollector
from monolith_tf.cluster import HeartbeatMonitor
from monolith_tf.cluster import pick_free_ports
from monolith_tf.cluster.heartbeat_metrics import serve_heartbeat_metrics
from processes import wait_until


def value(registry, role, state=None):
    if state is None:
        return registry.get_sample_value(
            "monolith_heartbeat_silent_seconds", {"role": role}
        )
    return registry.get_sample_value(
        "monolith_heartbeat_state", {"role": role, "state": state}
    )


def test_each_role_has_a_state_and_the_time_since_its_answer():
    registry = prometheus_client.CollectorRegistry()
    registry.register(HeartbeatCollector())
    with (
        fake_roles.StatusServer() as server,
        HeartbeatMonitor(interval_seconds=0.1) as monitor,
    ):
        monitor.watch("ps 7", server.address)
        wait_until(lambda: value(registry, "ps 7", "alive") == 1.0)
        assert value(registry, "ps 7", "hung") == 0.0
        assert value(registry, "ps 7") >= 0.0
    assert value(registry, "ps 7") is None


def test_a_launcher_serves_them():
    (port,) = pick_free_ports(1)
    with HeartbeatMonitor() as monitor:
        monitor.watch("ps 0", f"localhost:{port}")
        with serve_heartbeat_metrics(port):
            url = f"http://localhost:{port}/metrics"
            with urllib.request.urlopen(url) as answer:
                text = answer.read().decode()
    assert 'monolith_heartbeat_silent_seconds{role="ps 0"}' in text
    assert "process_resident_memory_bytes" in text
