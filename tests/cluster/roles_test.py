"""Tests of cluster roles and of a cluster on one machine."""

import json
import os
import pathlib
import re
import socket

import pytest
import tensorflow as tf

import monolith_tf as mt
import processes
from monolith_tf.cluster import roles

ADDRESSES = {"chief": ["a:1"], "worker": ["b:1", "c:1"], "ps": ["d:1"]}
CHIEF = """
import json
import os
import signal
import sys

import tensorflow as tf

import monolith_tf as mt

report = {}
with mt.cluster.LocalCluster(
    num_ps=2,
    num_workers=1,
    log_directory=sys.argv[1],
    start_timeout_seconds=600.0,
) as cluster:
    report["names"] = [child.name for child in cluster.children]
    report["pids"] = [child.pid for child in cluster.children]
    try:
        cluster.start()
    except RuntimeError as error:
        report["second_start"] = str(error)
    strategy = tf.distribute.ParameterServerStrategy(cluster.cluster_resolver)
    with strategy.scope():
        variables = [tf.Variable(20.0), tf.Variable(22.0)]
    report["devices"] = sorted(
        variable.device.split("/replica:0")[0]
        + "/task"
        + variable.device.split("/task")[1][:2]
        for variable in variables
    )
    coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
    total = coordinator.schedule(tf.function(lambda: tf.add_n(variables)))
    report["sum"] = float(total.fetch())
    cluster.check()
    victim = cluster.children[2]
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    try:
        cluster.check()
    except mt.cluster.ProcessError as error:
        report["dead"] = str(error)
print(json.dumps(report))
"""


def tf_config(role: str, index: int) -> str:
    return json.dumps(
        {"cluster": ADDRESSES, "task": {"type": role, "index": index}}
    )


def test_tf_config_names_the_cluster_and_the_own_place_in_it():
    assert mt.cluster.parse_tf_config(tf_config("worker", 1)) == (
        ADDRESSES,
        "worker",
        1,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "TF_CONFIG is not set. Expected the cluster"),
        ("{", "TF_CONFIG does not parse .*Received: '{'"),
        ("[]", r"TF_CONFIG does not parse .*Received: '\[\]'"),
        ('{"cluster": {}}', "does not parse .KeyError.'task'"),
        (
            tf_config("worker", 2),
            "of the cluster's .*Received: task 'worker' 2",
        ),
        (
            tf_config("evaluator", 0),
            "of the cluster's .*Received: task 'evaluator' 0",
        ),
    ],
)
def test_a_wrong_tf_config_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        mt.cluster.parse_tf_config(text)


def test_a_role_refuses_the_place_of_another():
    with pytest.raises(ValueError, match="as 'ps'.*Received: task 'worker' 0"):
        mt.cluster.run_parameter_server(tf_config("worker", 0))
    with pytest.raises(ValueError, match="as 'worker'.*Received: task 'ps' 0"):
        mt.cluster.run_worker(tf_config("ps", 0))


@pytest.mark.e2e
def test_the_command_refuses_to_be_a_chief():
    done = processes.run(
        [*processes.PYTHON, "-m", "monolith_tf.cluster"],
        code=2,
        env={**os.environ, "TF_CONFIG": tf_config("chief", 0)},
    )
    assert "The chief is the training program." in done.stderr


@pytest.mark.e2e
def test_the_command_says_what_it_does_and_shows_a_tf_config():
    done = processes.run(
        [*processes.PYTHON, "-m", "monolith_tf.cluster", "--help"],
        env={**os.environ, "TF_CONFIG": ""},
    )
    assert "worker or parameter server" in done.stdout
    assert '"task": {"type": "ps", "index": 0}' in " ".join(done.stdout.split())


@pytest.mark.parametrize("name", ["num_ps", "num_workers"])
def test_a_cluster_without_a_role_is_refused(name):
    with pytest.raises(
        ValueError, match=f"{name} of at least 1. Received: {name}=0"
    ):
        mt.cluster.LocalCluster(**{name: 0})


def test_a_cluster_that_does_not_run_has_no_resolver():
    with pytest.raises(RuntimeError, match="the cluster is not running"):
        _ = mt.cluster.LocalCluster().cluster_resolver


@pytest.mark.e2e
def test_a_cluster_that_is_too_slow_is_reported_and_leaves_nothing(tmp_path):
    cluster = mt.cluster.LocalCluster(
        log_directory=tmp_path, start_timeout_seconds=0.0
    )
    with pytest.raises(
        mt.cluster.ProcessError, match=r"worker 0 .* does not answer on port"
    ):
        cluster.start()
    assert cluster.children == ()


@pytest.mark.e2e
@pytest.mark.slow
def test_a_cluster_serves_a_strategy_and_reports_a_dead_server(tmp_path):
    # In a process of its own: a strategy connects a process for good.
    done = processes.run([*processes.PYTHON, "-c", CHIEF, tmp_path])
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["names"] == ["worker 0", "ps 0", "ps 1"]
    assert report["sum"] == 42.0
    assert report["devices"] == ["/job:ps/task:0", "/job:ps/task:1"]
    assert "the cluster is running. Stop it first" in report["second_start"]
    assert re.search("ps 1 .* was killed by SIGKILL", report["dead"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "ps-0.log",
        "ps-1.log",
        "worker-0.log",
    ]
    for pid in report["pids"]:
        assert not pathlib.Path(f"/proc/{pid}").exists()


class BusyPort:
    """Stands for `tf.distribute.Server` on a port that is held for a while."""

    def __init__(self, attempts):
        self.left = attempts

    def __call__(self, cluster, **options):
        if self.left:
            self.left -= 1
            raise tf.errors.UnknownError(
                None, None, "Could not start gRPC server"
            )
        return options


def test_a_server_waits_for_the_port_of_its_last_process(monkeypatch, capsys):
    monkeypatch.setattr(tf.distribute, "Server", BusyPort(attempts=3))
    monkeypatch.setattr(roles, "_PORT_RETRY_SECONDS", 0.0)
    server = roles._start_server({"ps": ["localhost:2222"]}, "ps", 0)
    assert server["job_name"] == "ps"
    (line,) = set(capsys.readouterr().err.splitlines())
    assert line.startswith("ps 0: localhost:2222 is in use; trying again: Co")


def test_a_port_that_stays_in_use_is_an_error(monkeypatch):
    monkeypatch.setattr(roles, "_PORT_SECONDS", 0.0)
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        address = f"localhost:{other.getsockname()[1]}"
        with pytest.raises(tf.errors.UnknownError, match="Could not start"):
            roles._start_server({"ps": [address]}, "ps", 0)
