"""Snapshots of Estimators and of TensorFlow 1 loops."""

import shutil
import threading
import unittest.mock

import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf import estimators
from monolith_tf.checkpoint import durable_files
from monolith_tf.errors import CheckpointError
from monolith_tf.placement.graph_scope import graph_servers
from processes import wait_until

v1 = tf.compat.v1
DEVICE = "/device:CPU:0"


def table_configs():
    """One table with admission and slots, one that tracks no changes."""
    return [
        mt.TableConfig(
            "movie",
            dim=3,
            optimizer=mt.optimizers.Adagrad(0.1),
            admission=mt.Admission(min_count=2),
        ),
        mt.TableConfig("user", dim=2, tracks_changes=False),
    ]


def model_fn(features, labels, mode):
    rows = [
        mt.layers.DynamicEmbedding(config)(features[config.name])
        for config in table_configs()
    ]
    kernel = v1.get_variable("kernel", [5, 1])
    logits = tf.matmul(tf.concat(rows, 1), kernel)[:, 0]
    if mode == estimators.ModeKeys.PREDICT:
        return estimators.EstimatorSpec(mode, predictions={"logits": logits})
    loss = v1.losses.sigmoid_cross_entropy(labels, logits)
    optimizer = mt.optimizers.with_tables(v1.train.AdamOptimizer(0.1))
    return estimators.EstimatorSpec(
        mode,
        loss=loss,
        train_op=optimizer.minimize(loss, v1.train.get_global_step()),
    )


def batches(first):
    """Endless batches from a step on, each another."""

    def generate():
        step = first
        while True:
            random = np.random.default_rng(step)
            movie, user = random.integers(-60, 60, (2, 32))
            yield {"movie": movie, "user": user}, (movie % 2).astype("f4")
            step += 1

    ids = tf.TensorSpec([32], tf.int64)
    return lambda: tf.data.Dataset.from_generator(
        generate,
        output_signature=(
            {"movie": ids, "user": ids},
            tf.TensorSpec([32], tf.float32),
        ),
    )


def estimator_of(directory, snapshots=None, **config):
    if snapshots is not None:
        snapshots = estimators.SnapshotConfig(
            directory / "snapshots", **snapshots
        )
    run_config = estimators.RunConfig(
        str(directory / "model"),
        snapshots=snapshots,
        tf_random_seed=1,
        log_step_count_steps=None,
        **config,
    )
    return estimators.Estimator(model_fn, config=run_config)


def state_of(estimator):
    """Everything in the last checkpoint, groups of rows in order of ids."""
    reader = tf.train.load_checkpoint(estimator.latest_checkpoint())
    found = {}
    for name in reader.get_variable_to_shape_map():
        if "/rows-" in name:
            continue
        value = reader.get_tensor(name)
        if "/keys-" in name:
            order = np.argsort(value[:, 0])
            rows = reader.get_tensor(name.replace("/keys-", "/rows-"))
            # The event times of keys are those of the clock.
            found[name] = value[order, 0].tolist()
            found[name + " rows"] = rows[order].tolist()
        elif not name.endswith("/clock"):
            found[name] = np.asarray(value).tolist()
    return found


def only_snapshots(estimator):
    """Loses the checkpoints, so that training starts from a snapshot."""
    shutil.rmtree(estimator.model_dir)


def test_training_goes_on_from_a_snapshot_as_if_it_had_never_ended(tmp_path):
    straight = estimator_of(tmp_path / "straight")
    straight.train(batches(0), steps=12)
    first = estimator_of(tmp_path / "parts", {"every_seconds": 3600})
    first.train(batches(0), steps=5)
    only_snapshots(first)
    assert mt.snapshots.latest(tmp_path / "parts/snapshots").step == 5
    second = estimator_of(tmp_path / "parts", {"every_seconds": 3600})
    second.train(batches(5), steps=7)
    assert state_of(second) == state_of(straight)
    assert state_of(second)["global_step"] == 12


@pytest.mark.slow
def test_increments_hold_what_changed_between_two_steps(tmp_path):
    config = {"every_seconds": 0, "keep": 100, "full_every": 4}
    estimator = estimator_of(tmp_path, config)

    class WaitForTheNext(v1.train.SessionRunHook):
        def before_run(self, run_context):
            wait_until(
                lambda: all(t.name != "snapshot" for t in threading.enumerate())
            )

    estimator.train(batches(0), steps=10, hooks=[WaitForTheNext()])
    store = mt.snapshots.SnapshotStore(tmp_path / "snapshots")
    *_, last = store.finished()
    # A full one, the end of its chain, and the one from the end of training.
    chosen = {1, 4, last}
    assert [store.load(number).is_full for number in (1, 4)] == [True, False]
    for number in chosen:
        step = store.check(number, contents=True)[-1].step
        restored = tmp_path / f"restored-{number}"
        shutil.copytree(tmp_path / "snapshots", restored / "snapshots")
        copy = mt.snapshots.SnapshotStore(restored / "snapshots")
        for later in copy.numbers():
            if later > number:
                copy.remove(later)
        estimator_of(restored, config).train(batches(step), steps=1)
        straight = estimator_of(tmp_path / f"straight-{number}")
        straight.train(batches(0), steps=step + 1)
        assert state_of(estimator_of(restored)) == state_of(straight)


def test_a_checkpoint_of_a_later_step_is_restored(tmp_path, caplog):
    estimator_of(tmp_path, {"every_seconds": 3600}).train(batches(0), steps=3)
    estimator_of(tmp_path).train(batches(3), steps=3)
    estimator = estimator_of(tmp_path, {"every_seconds": 3600})
    estimator.train(batches(6), steps=1)
    assert state_of(estimator)["global_step"] == 7
    assert "is of step 3, and the checkpoint of step 6" in caplog.text
    assert mt.snapshots.latest(tmp_path / "snapshots").step == 7


def test_a_training_that_reached_max_steps_is_left_out(tmp_path):
    config = {"every_seconds": 3600}
    estimator = estimator_of(tmp_path, config, save_checkpoints_secs=None)
    estimator.train(batches(0), max_steps=3)
    assert estimator.latest_checkpoint() is None
    estimator.train(pytest.fail, max_steps=3)


def damage(directory):
    for manifest in directory.glob("snapshot-*/MANIFEST"):
        manifest.write_bytes(b"torn")


def test_no_training_begins_at_nothing_beside_damaged_snapshots(tmp_path):
    estimator = estimator_of(tmp_path, {"every_seconds": 3600})
    estimator.train(batches(0), steps=3)
    only_snapshots(estimator)
    damage(tmp_path / "snapshots")
    with pytest.raises(CheckpointError, match="allow_fresh=True"):
        estimator.train(batches(0), steps=1)
    fresh = estimator_of(tmp_path, {"allow_fresh": True})
    fresh.train(batches(0), steps=1)
    assert state_of(fresh)["global_step"] == 1


def test_a_damaged_part_is_passed_over(tmp_path):
    config = {"every_seconds": 0, "keep": 100, "full_every": 1}
    estimator = estimator_of(tmp_path, config)
    estimator.train(batches(0), steps=5)
    only_snapshots(estimator)
    store = mt.snapshots.SnapshotStore(tmp_path / "snapshots")
    newest, before, *_ = store.whole()
    (part,) = newest.parts
    path = tmp_path / f"snapshots/snapshot-{newest.number:08d}" / part.name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    again = estimator_of(tmp_path, config)
    again.train(batches(before.step), steps=1)
    straight = estimator_of(tmp_path / "straight")
    straight.train(batches(0), steps=before.step + 1)
    assert state_of(again) == state_of(straight)


def test_a_last_snapshot_that_fails_is_an_error_after_the_checkpoint(tmp_path):
    estimator = estimator_of(tmp_path, {"every_seconds": 0})
    with (
        unittest.mock.patch.object(
            durable_files, "write_durably", side_effect=OSError(28, "disk full")
        ),
        pytest.raises(CheckpointError, match="disk full"),
    ):
        estimator.train(batches(0), steps=3)
    assert state_of(estimator)["global_step"] == 3
    assert mt.snapshots.latest(tmp_path / "snapshots") is None


def test_positions_and_clocks_are_of_the_moment(tmp_path):
    reached = {"clicks": 12}
    config = {"every_seconds": 3600, "positions": lambda: reached}
    estimator_of(tmp_path, config).train(batches(0), steps=2)
    manifest = mt.snapshots.latest(tmp_path / "snapshots")
    assert manifest.positions == reached
    assert [table.name for table in manifest.tables] == ["movie", "user"]
    assert manifest.event_time > 0


class Loop:
    """A custom loop of TensorFlow 1 with a table on several servers."""

    def __init__(self, directory, num_servers):
        self.hook = estimators.SnapshotHook(
            estimators.SnapshotConfig(directory, every_seconds=3600)
        )
        self._num_servers = num_servers

    def run(self, steps):
        """Makes steps; returns the rows and the weight at the end."""
        ids = tf.range(100, dtype=tf.int64)
        with (
            tf.Graph().as_default(),
            graph_servers([DEVICE] * self._num_servers),
        ):
            config = mt.TableConfig(
                "movie",
                dim=1,
                optimizer=mt.optimizers.SGD(1.0),
                initializer=mt.initializers.Zeros(),
            )
            table = mt.Table(config)
            weight = v1.get_variable("weight", initializer=0.0)
            rows = table.lookup(ids.numpy())
            optimizer = mt.optimizers.with_tables(
                v1.train.GradientDescentOptimizer(1.0)
            )
            train_op = optimizer.minimize(
                tf.reduce_sum(rows) + weight,
                v1.train.get_or_create_global_step(),
            )
            with v1.train.MonitoredTrainingSession(
                chief_only_hooks=[self.hook]
            ) as session:
                for _ in range(steps):
                    session.run(train_op)
                rows, weight = session.run([rows, weight])
        return sorted({*rows[:, 0].tolist(), float(weight)})


@pytest.mark.parametrize("num_servers", [(1, 1), (1, 3), (3, 2)])
def test_a_custom_loop_goes_on_on_any_number_of_servers(tmp_path, num_servers):
    before, after = num_servers
    assert Loop(tmp_path, before).run(3) == [-3.0]
    loop = Loop(tmp_path, after)
    assert loop.run(0) == [-3.0]
    assert loop.run(2) == [-5.0]
    assert loop.hook.latest.step == 5
    assert loop.hook.num_failed == loop.hook.num_torn == 0


def test_a_session_of_a_loop_that_is_made_again_is_restored(tmp_path):
    assert Loop(tmp_path, 1).run(2) == [-2.0]
    loop = Loop(tmp_path, 1)

    # The first of three steps is lost, and the last run reads the rows.
    error = tf.errors.AbortedError(None, None, "It restarted.")
    lost = unittest.mock.Mock(side_effect=[error, *[None] * 4])
    loop.hook.before_run = lost
    assert loop.run(3) == [-5.0]
    assert lost.call_count == 5


def test_a_graph_without_tables_is_refused(tmp_path):
    hook = estimators.SnapshotHook(estimators.SnapshotConfig(tmp_path))
    with tf.Graph().as_default():
        with pytest.raises(ValueError, match="Received: a graph without one"):
            hook.begin()


def test_numbers_that_make_no_sense_are_refused(tmp_path):
    for name, value in (
        ("every_seconds", -1),
        ("pause_seconds", -1),
        ("full_every", 0),
        ("keep", 0),
    ):
        with pytest.raises(ValueError, match=f"{name}={value}"):
            estimators.SnapshotConfig(tmp_path, **{name: value})


def test_an_estimator_makes_its_hook_itself(tmp_path):
    hook = estimators.SnapshotHook(estimators.SnapshotConfig(tmp_path))
    with pytest.raises(ValueError, match=r"Use RunConfig\(snapshots"):
        estimator_of(tmp_path).train(batches(0), hooks=[hook], steps=1)
