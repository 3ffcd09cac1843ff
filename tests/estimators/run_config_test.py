"""RunConfig reads TF_CONFIG."""

from __future__ import annotations

import json

import pytest

from monolith_tf.estimators import RunConfig
from monolith_tf.estimators import SnapshotConfig

CLUSTER = {"chief": ["c:1"], "worker": ["w:1", "w:2"], "ps": ["p:1", "p:2"]}


def config_of(monkeypatch, role, index, **arguments):
    task = {"type": role, "index": index}
    monkeypatch.setenv(
        "TF_CONFIG", json.dumps({"cluster": CLUSTER, "task": task})
    )
    return RunConfig(**arguments)


def test_without_a_cluster_it_is_a_local_chief(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    config = RunConfig()
    assert config.is_chief and config.master == ""
    assert config.training_device_fn() is None
    assert (config.save_checkpoints_secs, config.keep_checkpoint_max) == (
        600,
        5,
    )


@pytest.mark.parametrize(
    ("role", "index", "is_chief", "master", "number"),
    [
        ("chief", 0, True, "grpc://c:1", 0),
        ("worker", 1, False, "grpc://w:2", 2),
        ("ps", 1, False, "", 4),
        ("evaluator", 0, False, "", None),
    ],
)
def test_a_task_knows_its_place(
    monkeypatch, role, index, is_chief, master, number
):
    config = config_of(monkeypatch, role, index)
    assert config.is_chief == is_chief
    assert config.master == master
    assert config.global_id_in_cluster == number
    assert config.num_ps_replicas == (0 if role == "evaluator" else 2)


def test_a_worker_talks_to_the_servers_and_itself_only(monkeypatch):
    config = config_of(monkeypatch, "worker", 1)
    assert list(config.session_config.device_filters) == [
        "/job:ps",
        "/job:worker/task:1",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "does not parse"),
        ('{"cluster": {"worker": ["a:1"]}}', "exactly one chief"),
        (
            '{"cluster": {"chief": ["a:1"]}, "task": {"type": "ps"}}',
            "needs a task of its cluster",
        ),
    ],
)
def test_a_cluster_that_cannot_be_is_refused(monkeypatch, text, message):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match=message):
        RunConfig()


def test_steps_and_seconds_are_refused_together():
    with pytest.raises(ValueError, match="not both"):
        RunConfig(save_checkpoints_steps=1, save_checkpoints_secs=1)


def test_a_distribution_strategy_is_refused():
    with pytest.raises(ValueError, match="use Keras"):
        RunConfig(train_distribute=object())


def test_replace_leaves_the_original_alone(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    config = RunConfig(save_checkpoints_secs=7)
    other = config.replace(save_checkpoints_steps=3)
    assert (other.save_checkpoints_steps, other.save_checkpoints_secs) == (
        3,
        None,
    )
    assert config.save_checkpoints_secs == 7
    with pytest.raises(ValueError, match="there is no 'speed'"):
        config.replace(speed=3)


def test_snapshots_are_a_config_and_no_path():
    config = SnapshotConfig("snapshots", every_seconds=1.0)
    assert RunConfig(snapshots=config).snapshots is config
    with pytest.raises(TypeError, match="Received: 'snapshots'"):
        RunConfig(snapshots="snapshots")
