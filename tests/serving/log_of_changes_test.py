"""Deltas and the log of changed ids: not started, and at its limit."""

import tensorflow as tf

from monolith_tf.serving import export_saved_model


def test_an_export_without_deltas_logs_nothing_until_a_pusher_begins(
    trainer, base_path, make_server, make_client, make_pusher, assert_equal
):
    record = export_saved_model(trainer.model, base_path, track_changes=False)
    trainer.change(seed=1)
    stats = [table.stats() for table in trainer.tables.values()]
    assert [stat.log_bytes for stat in stats] == [0, 0]
    server = make_server()
    pusher = make_pusher(server, record)
    pusher.flush()
    assert pusher.metrics.resyncs == 1
    assert_equal(make_client(server), trainer)


def test_a_log_of_changed_ids_at_its_limit_makes_the_pusher_export(
    trainer, make_client, deliver, assert_equal
):
    table_set = trainer.tables["movie"].table_set
    table_set.max_log_bytes = 1 << 10
    server, pusher = deliver()
    pusher.push()
    trainer.tables["movie"].assign(
        tf.range(500, dtype=tf.int64), tf.ones([500, 3])
    )
    assert trainer.tables["movie"].stats().num_dropped_logs > 0
    pusher.flush()
    assert pusher.metrics.resyncs == 1
    assert_equal(make_client(server), trainer)
