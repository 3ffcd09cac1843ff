"""A model that is restored under a pusher is served before or after, whole."""

import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf import ops
from monolith_tf.errors import DeliveryError
from monolith_tf.errors import RestoredMeanwhileError
from monolith_tf.serving.status import read_status


@pytest.fixture
def at_an_import(monkeypatch):
    """Calls a function once, before a restore imports its first group."""
    really, calls = ops.import_rows, []

    def import_rows(*arguments, table, **keywords):
        if calls and table in calls[-1][0]:
            calls.pop()[1]()
        return really(*arguments, table=table, **keywords)

    monkeypatch.setattr(ops, "import_rows", import_rows)
    return lambda table, function: calls.append((table, function))


@pytest.fixture
def saved(trainer, tmp_path):
    trainer.change(seed=1, num_ids=200)
    path = str(tmp_path / "weights")
    trainer.model.save_weights(path)
    return path


def rows_of(record):
    return {table["name"]: table["rows"] for table in record.tables}


def test_a_push_during_a_restore_sends_nothing_and_the_next_one_exports(
    trainer, saved, make_client, deliver, at_an_import, assert_equal
):
    server, pusher = deliver()
    assert pusher.push().delivered
    client = make_client(server)
    before = read_status(client, "ranker")
    seen = []

    def push():
        seen.append((pusher.push(), read_status(client, "ranker")))

    at_an_import("movie", push)
    trainer.model.load_weights(saved)
    ((stats, during),) = seen
    assert not stats.delivered
    assert "is being restored" in stats.problem
    assert during == before
    pusher.flush()
    assert pusher.metrics.resyncs == 1
    assert_equal(client, trainer)


@pytest.mark.parametrize("table", ["movie", "user"])
def test_no_version_is_published_while_a_table_is_restored(
    trainer, saved, make_client, deliver, at_an_import, assert_equal, table
):
    server, pusher = deliver()
    assert pusher.push().delivered
    record = pusher.record
    at_an_import(table, pusher.push)
    trainer.model.load_weights(saved)
    assert pusher.record is record
    pusher.flush()
    assert pusher.record.version == record.version + 1
    assert rows_of(pusher.record) == rows_of(record)
    assert_equal(make_client(server), trainer)


def test_the_thread_of_a_pusher_waits_for_the_end_of_a_restore(
    trainer, saved, make_client, deliver, assert_equal
):
    server, pusher = deliver()
    pusher.start()
    for _ in range(3):
        trainer.model.load_weights(saved)
        trainer.change(seed=5)
        pusher.check()
    pusher.close()
    assert_equal(make_client(server), trainer)


def test_a_flush_during_a_restore_ends_at_its_deadline_and_says_why(
    trainer, deliver
):
    _, pusher = deliver()
    with (
        mt.checkpoint.restoring(trainer.model),
        pytest.raises(DeliveryError, match="is being restored"),
    ):
        pusher.flush(timeout_seconds=0.3)


def test_an_export_of_tables_that_are_being_restored_is_refused(
    trainer, base_path, tmp_path
):
    with (
        mt.checkpoint.restoring(trainer.model),
        pytest.raises(tf.errors.AbortedError, match="is being restored"),
    ):
        trainer.export(base_path)
    assert not list(tmp_path.rglob("saved_model.pb"))


def test_an_export_that_a_restore_overtook_is_tried_again(
    trainer, saved, make_client, deliver, monkeypatch, assert_equal
):
    server, pusher = deliver()
    assert pusher.push().delivered
    really, overtaken = mt.TableSet.start_deltas, []

    def start_deltas(table_set):
        cuts = really(table_set)
        if not overtaken:
            overtaken.append(True)
            trainer.model.load_weights(saved)
        return cuts

    trainer.model.load_weights(saved)
    with monkeypatch.context() as patch:
        patch.setattr(mt.TableSet, "start_deltas", start_deltas)
        stats = pusher.push()
    assert overtaken
    assert RestoredMeanwhileError.__name__ in stats.problem
    pusher.flush()
    assert_equal(make_client(server), trainer)


def test_other_aborts_are_errors(trainer, deliver, monkeypatch):
    _, pusher = deliver()

    def take_delta(*_):
        raise tf.errors.AbortedError(None, None, "another reason")

    monkeypatch.setattr(mt.TableSet, "take_delta", take_delta)
    with pytest.raises(tf.errors.AbortedError, match="another reason"):
        pusher.push()
