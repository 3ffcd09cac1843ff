"""Failures of the cluster, and the end of the chief that follows."""

import json
import queue

import fake_roles
import pytest
import tensorflow as tf

from monolith_tf.cluster import Health
from monolith_tf.cluster import HeartbeatMonitor
from monolith_tf.cluster import failures
from monolith_tf.cluster import progress
from monolith_tf.cluster.failures import exit_for_restart
from monolith_tf.cluster.failures import is_cluster_failure
from monolith_tf.errors import DeliveryError
from processes import DEADLINE_SECONDS

GONE = "failed to connect ... /job:ps/replica:0/task:1"


def error_of(kind, message=GONE):
    return getattr(tf.errors, kind)(None, None, message)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (error_of("UnavailableError"), True),
        (error_of("AbortedError"), True),
        (error_of("CancelledError"), True),
        (error_of("FailedPreconditionError"), True),
        (error_of("FailedPreconditionError", "not initialized"), False),
        (error_of("InvalidArgumentError", "an unknown device x"), True),
        (error_of("InvalidArgumentError", "a bad shape"), False),
        (error_of("OutOfRangeError"), False),
        (ValueError(GONE), False),
    ],
)
def test_errors_of_a_lost_process_are_told_from_others(error, expected):
    assert is_cluster_failure(error) is expected


def raised_from(cause):
    try:
        raise DeliveryError("Pushing deltas stopped.") from cause
    except DeliveryError as error:
        return error


def test_it_counts_whoever_reports_it():
    assert is_cluster_failure(raised_from(error_of("UnavailableError")))
    twice = raised_from(raised_from(error_of("UnavailableError")))
    assert is_cluster_failure(twice)
    assert not is_cluster_failure(raised_from(ValueError(GONE)))
    assert not is_cluster_failure(raised_from(None))


def test_a_circle_of_causes_ends():
    error = ValueError("a")
    error.__cause__ = DeliveryError("b")
    error.__cause__.__cause__ = error
    assert not is_cluster_failure(error)


@pytest.fixture
def exits(monkeypatch):
    """Codes of the ends of the process, which do not end it."""
    codes = queue.Queue()
    monkeypatch.setattr(failures.os, "_exit", codes.put)
    return codes


@pytest.fixture
def watched(monkeypatch):
    """Addresses that blocks ask for heartbeats."""
    addresses = []

    class Monitor(HeartbeatMonitor):
        def watch(self, role, address, pid=None):
            addresses.append((role, address))

    monkeypatch.setattr(failures, "HeartbeatMonitor", Monitor)
    return addresses


def set_task(monkeypatch, role, **cluster):
    config = {"cluster": cluster, "task": {"type": role, "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))


def test_a_failure_of_the_cluster_ends_the_process_in_one_line(exits, capsys):
    with exit_for_restart():
        raise error_of("UnavailableError", "gone\nfor good")
    assert exits.get_nowait() == 75
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "monolith-tf: the cluster failed, so the chief exits with code 75 to "
        "be restarted: UnavailableError: gone"
    )


def test_other_errors_pass(exits):
    with pytest.raises(ValueError, match="a bug"):
        with exit_for_restart():
            raise ValueError("a bug")
    assert exits.empty()


def test_a_server_that_hangs_ends_the_process_with_its_name(exits, capsys):
    with fake_roles.silent_listener() as address:
        with exit_for_restart([address], heartbeat_timeout_seconds=1.0):
            # The training waits for the server.
            assert exits.get(timeout=DEADLINE_SECONDS) == 75
    (line,) = capsys.readouterr().err.splitlines()
    assert f"restarted: ps 0 at {address} is hung, the connection" in line


def test_a_server_that_is_dead_or_slow_ends_nothing(exits):
    for state in ("dead", "slow", "alive"):
        failures._exit_if_silent(Health("ps 0", "host:1", state=state))
    assert exits.empty()
    failures._exit_if_silent(Health("ps 0", "host:1", state="partitioned"))
    assert exits.get_nowait() == 75


def test_the_servers_of_tf_config_are_watched_by_the_chief(
    watched, monkeypatch
):
    monkeypatch.delenv(progress.FILE_VARIABLE, raising=False)
    set_task(monkeypatch, "chief", chief=["c:1"], ps=["a:1", "b:2"])
    with exit_for_restart():
        assert watched == [("ps 0", "a:1"), ("ps 1", "b:2")]


@pytest.mark.parametrize("role", ["worker", "ps", "evaluator"])
def test_other_roles_watch_no_servers(watched, monkeypatch, role):
    monkeypatch.delenv(progress.FILE_VARIABLE, raising=False)
    set_task(monkeypatch, role, chief=["c:1"], worker=["w:1"], ps=["a:1"])
    with exit_for_restart():
        assert watched == []


def test_under_a_launcher_or_without_a_time_out_no_server_is_watched(
    watched, monkeypatch, tmp_path
):
    set_task(monkeypatch, "chief", chief=["c:1"], ps=["a:1"])
    monkeypatch.setenv(progress.FILE_VARIABLE, str(tmp_path / "file"))
    with exit_for_restart():
        assert watched == []
    monkeypatch.delenv(progress.FILE_VARIABLE)
    with exit_for_restart(heartbeat_timeout_seconds=0):
        assert watched == []


def test_the_servers_of_a_strategy_are_watched(watched):
    spec = tf.train.ClusterSpec({"ps": ["a:1"], "worker": ["w:1"]})

    class Strategy(tf.distribute.OneDeviceStrategy):
        cluster_resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            spec
        )

    with exit_for_restart(Strategy("cpu:0")):
        assert watched == [("ps 0", "a:1")]


def test_a_strategy_without_parameter_servers_is_refused():
    with pytest.raises(ValueError, match="a strategy with parameter servers"):
        with exit_for_restart(tf.distribute.get_strategy()):
            pass


def test_a_negative_time_out_is_refused():
    with pytest.raises(ValueError, match="at least 0. Received: heartbeat_ti"):
        with exit_for_restart(heartbeat_timeout_seconds=-1):
            pass
