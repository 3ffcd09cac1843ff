"""Delivery: whatever is killed, lost or damaged, the server ends up equal."""

import os
import re
import threading

import numpy as np
import pytest
import tensorflow as tf

from monolith_tf.errors import DeliveryError
from monolith_tf.serving import delta as delta_lib
from monolith_tf.serving import delta_request
from monolith_tf.serving.client import ServingCallError
from monolith_tf.serving.delivery import DeltaRefusedError
from monolith_tf.serving.graph.delta_status import DeltaStatus
from monolith_tf.serving.push_metrics import PushMetrics
from monolith_tf.serving.push_options import PushOptions
from monolith_tf.serving.pusher import DeltaPusher
from processes import DEADLINE_SECONDS


def log_files(tmp_path):
    (folder,) = (p for p in (tmp_path / "log").iterdir() if p.is_dir())
    return sorted(folder.iterdir())


@pytest.mark.slow
def test_after_a_push_the_server_equals_the_trainer(
    trainer, base_path, make_server, make_client, make_pusher, assert_equal
):
    trainer.change(seed=1)
    record = trainer.export(base_path)
    server = make_server()
    client = make_client(server)
    assert_equal(client, trainer)
    pusher = make_pusher(server, record)
    for seed in range(2, 6):
        trainer.change(seed)
        stats = pusher.push()
        assert stats.delivered
        assert stats.rows > 0
        assert stats.tombstones > 0
    assert_equal(client, trainer)
    assert pusher.metrics.resyncs == 0
    assert pusher.metrics.deltas == 4 * 3  # two shards and the dense stream
    assert pusher.metrics.lag_seconds > 0


@pytest.mark.slow
def test_rows_changed_before_the_pusher_was_made_are_pushed(
    trainer, base_path, make_server, make_client, make_pusher, assert_equal
):
    record = trainer.export(base_path)
    trainer.change(seed=1)
    server = make_server()
    assert make_pusher(server, record).push().delivered
    assert_equal(make_client(server), trainer)


@pytest.mark.slow
def test_a_large_delta_goes_in_chunks_each_with_its_sequence(
    trainer,
    base_path,
    make_server,
    make_client,
    make_pusher,
    assert_equal,
    last_sequences,
    tmp_path,
):
    record = trainer.export(base_path)
    server = make_server()
    client = make_client(server)
    trainer.change(seed=1, num_ids=100)
    stats = make_pusher(server, record, chunk_rows=16).push()
    assert stats.rows + stats.tombstones == 200
    assert sum(last_sequences(client)) == stats.chunks >= 200 // 16
    chunks = [delta_lib.read(path) for path in log_files(tmp_path)]
    assert max(chunk.num_ids for chunk in chunks) == 16
    assert_equal(client, trainer)


@pytest.mark.slow
def test_the_deltas_of_a_stream_join_up(
    trainer, base_path, make_server, make_pusher, tmp_path
):
    record = trainer.export(base_path)
    pusher = make_pusher(make_server(), record)
    for seed in range(3):
        trainer.change(seed)
        pusher.push()
        pusher.push()  # an empty round in between
    for shard in range(2):
        chunks = [
            delta_lib.read(path)
            for path in log_files(tmp_path)
            if path.name.startswith(f"{shard:05d}-")
        ]
        assert chunks[0].from_cut == record.cuts[shard]
        for earlier, later in zip(chunks, chunks[1:], strict=False):
            assert later.from_cut == earlier.to_cut
            assert later.sequence == earlier.sequence + 1


@pytest.mark.slow
def test_a_round_without_changes_sends_nothing(
    make_client, last_sequences, deliver
):
    server, pusher = deliver()
    pusher.push()
    before = last_sequences(make_client(server))
    stats = pusher.push()
    assert (stats.chunks, stats.delivered) == (0, True)
    assert last_sequences(make_client(server)) == before


@pytest.mark.slow
def test_dense_bytes_are_sent_only_when_they_changed(
    trainer, make_client, last_sequences, deliver
):
    server, pusher = deliver()
    pusher.push()
    client = make_client(server)
    assert last_sequences(client)[-1] == 1
    trainer.tables["movie"].assign(tf.constant([1], tf.int64), tf.ones([1, 3]))
    pusher.push()
    assert last_sequences(client)[-1] == 1
    trainer.change(seed=1)
    pusher.push()
    assert last_sequences(client)[-1] == 2


@pytest.mark.slow
def test_a_duplicated_delta_changes_nothing(
    trainer, base_path, make_server, make_client, make_pusher, assert_equal,
    last_sequences, tmp_path,
):  # fmt: skip
    record = trainer.export(base_path)
    server = make_server()
    client = make_client(server)
    pusher = make_pusher(server, record)
    for seed in range(2):
        trainer.change(seed)
        pusher.push()
    before = last_sequences(client)
    tables = [(t["name"], t["dim"]) for t in record.tables]
    for path in log_files(tmp_path):
        reply = delta_request.apply_chunk(
            client, "ranker", 1, delta_lib.read(path), tables
        )
        assert reply.status == DeltaStatus.DUPLICATE
        assert reply.applied_rows == 0
    assert last_sequences(client) == before
    assert_equal(client, trainer)


@pytest.mark.slow
def test_a_dropped_delta_is_refused_then_replayed(
    trainer, make_client, assert_equal, monkeypatch, deliver
):
    server, pusher = deliver(verify_seconds=1e6)
    pusher.push()
    really = delta_request.apply_chunk

    def lose(client, model_name, version, chunk, tables):
        return delta_request.ApplyReply(
            DeltaStatus.APPLIED, chunk.sequence + 1, chunk.generation, 0, "", 0
        )

    monkeypatch.setattr(delta_request, "apply_chunk", lose)
    trainer.change(seed=1)
    pusher.push()
    monkeypatch.setattr(delta_request, "apply_chunk", really)
    trainer.change(seed=2)
    assert pusher.push().delivered
    assert pusher.metrics.refusals >= 1
    assert pusher.metrics.replays >= 3
    assert pusher.metrics.resyncs == 0
    assert_equal(make_client(server), trainer)


@pytest.mark.slow
def test_a_reply_that_is_lost_is_a_duplicate_the_next_time(
    trainer, make_client, assert_equal, monkeypatch, deliver
):
    server, pusher = deliver(verify_seconds=1e6)
    pusher.push()
    really = delta_request.apply_chunk

    class Lost(ServingCallError):
        unreachable = True

        def __init__(self):
            Exception.__init__(self, "lost")
            self.code = None

    def lose_reply(*arguments):
        really(*arguments)
        raise Lost()

    monkeypatch.setattr(delta_request, "apply_chunk", lose_reply)
    trainer.change(seed=1)
    assert not pusher.push().delivered
    monkeypatch.setattr(delta_request, "apply_chunk", really)
    assert pusher.push().delivered
    assert pusher.metrics.duplicates == 1
    assert_equal(make_client(server), trainer)


@pytest.mark.slow
def test_a_server_that_restarted_gets_the_log_again(
    trainer, make_server, make_client, assert_equal, deliver
):
    server, pusher = deliver()
    for seed in range(3):
        trainer.change(seed)
        pusher.push()
    server.close()
    trainer.change(seed=3)
    assert not pusher.push().delivered
    assert pusher.metrics.unreachable >= 1
    restarted = make_server(port=server.port)
    pusher.flush()
    assert pusher.metrics.resyncs == 0
    assert_equal(make_client(restarted), trainer)


@pytest.mark.slow
def test_a_server_that_restarted_is_found_though_nothing_changes(
    trainer, make_server, make_client, assert_equal, deliver
):
    server, pusher = deliver()
    trainer.change(seed=1)
    pusher.push()
    server.close()
    restarted = make_server(port=server.port)
    pusher.flush()
    assert_equal(make_client(restarted), trainer)


@pytest.mark.slow
def test_a_damaged_log_file_is_refused_and_named_then_replaced_by_an_export(
    trainer, base_path, make_server, make_client, make_pusher, assert_equal,
    tmp_path, caplog,
):  # fmt: skip
    record = trainer.export(base_path)
    server = make_server()
    pusher = make_pusher(server, record)
    for seed in range(3):
        trainer.change(seed)
        pusher.push()
    damaged = log_files(tmp_path)[1]
    content = bytearray(damaged.read_bytes())
    content[60] ^= 1
    damaged.write_bytes(content)
    server.close()
    restarted = make_server(port=server.port)
    pusher.flush()
    assert str(damaged) in caplog.text
    assert "checksum" in caplog.text
    assert pusher.metrics.corrupt_files == 1
    assert pusher.metrics.resyncs == 1
    assert pusher.record.version == 2
    assert_equal(make_client(restarted), trainer)


@pytest.mark.slow
def test_what_fell_off_the_log_is_replaced_by_an_export(
    trainer, make_server, make_client, assert_equal, deliver
):
    server, pusher = deliver(log_max_bytes=4 * 4096)
    for seed in range(4):
        trainer.change(seed)
        pusher.push()
    assert pusher.metrics.dropped_chunks > 0
    assert pusher.metrics.resyncs == 0
    server.close()
    restarted = make_server(port=server.port)
    pusher.flush()
    assert pusher.metrics.resyncs == 1
    assert_equal(make_client(restarted), trainer)


@pytest.mark.slow
def test_without_export_fn_a_needed_resync_is_an_error_that_says_so(
    trainer, make_server, deliver
):
    server, pusher = deliver(can_export=False, log_max_bytes=4 * 4096)
    for seed in range(4):
        trainer.change(seed)
        pusher.push()
    server.close()
    make_server(port=server.port)
    with pytest.raises(DeliveryError, match="Expected `export_fn`"):
        pusher.flush()


@pytest.mark.slow
def test_a_log_that_cannot_be_written_loses_nothing(
    trainer, make_client, assert_equal, monkeypatch, deliver
):
    server, pusher = deliver()
    pusher.push()

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full_disk)
    trainer.change(seed=1)
    stats = pusher.push()
    assert not stats.delivered
    assert "No space left" in stats.problem
    monkeypatch.undo()
    assert pusher.push().delivered
    assert pusher.metrics.failed_writes == 1
    assert_equal(make_client(server), trainer)


@pytest.mark.slow
def test_an_unreachable_server_is_counted_and_named(
    trainer, base_path, make_pusher
):
    record = trainer.export(base_path)
    trainer.change(seed=1)
    pusher = make_pusher("127.0.0.1:9", record, max_attempts=1)
    stats = pusher.push()
    assert stats.waiting == stats.chunks == 3
    assert "127.0.0.1:9" in stats.problem
    assert pusher.metrics.unreachable == 1
    with pytest.raises(DeliveryError, match="were not acknowledged within"):
        pusher.flush(0.05)


@pytest.mark.slow
def test_a_newer_version_on_the_server_makes_the_pusher_export(
    trainer, base_path, make_server, make_client, make_pusher, assert_equal
):
    record = trainer.export(base_path)
    server = make_server()
    client = make_client(server)
    pusher = make_pusher(server, record)
    pusher.push()
    trainer.export(base_path)
    client.wait_until_available("ranker", 2, DEADLINE_SECONDS)
    trainer.change(seed=1)
    pusher.flush()
    assert pusher.record.version == 3
    assert_equal(client, trainer)


@pytest.mark.slow
def test_a_pusher_of_another_model_is_refused(
    trainer, base_path, make_server, make_pusher, monkeypatch
):
    record = trainer.export(base_path)
    pusher = make_pusher(make_server(), record)
    malformed = delta_request.ApplyReply(
        DeltaStatus.MALFORMED, 1, 0, 0, "rows_0 has 5 floats", 0
    )
    monkeypatch.setattr(delta_request, "apply_chunk", lambda *_: malformed)
    with pytest.raises(DeltaRefusedError, match="rows_0 has 5 floats"):
        pusher.push()


@pytest.mark.slow
def test_the_thread_pushes_while_four_threads_train(
    trainer, make_client, assert_equal, deliver
):
    server, pusher = deliver()
    pusher.start()

    def train(seed):
        random = np.random.default_rng(seed)
        for _ in range(40):
            ids = tf.constant(random.integers(0, 500, 32), tf.int64)
            trainer.tables["movie"].apply_gradients(
                ids, tf.constant(random.normal(size=(32, 3)), tf.float32)
            )
            trainer.tables["user"].remove(ids[:1])

    threads = [threading.Thread(target=train, args=[seed]) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pusher.close()
    assert_equal(make_client(server), trainer)
    assert threading.current_thread() in threading.enumerate()
    assert not any(t.name == "delta pusher" for t in threading.enumerate())


SERVER_GONE = """Graph execution error:

failed to connect to all addresses
Additional GRPC error information from remote target \
/job:ps/replica:0/task:1/device:CPU:0 while calling RunComponentFunction:
:{"description":"Failed to pick subchannel"}"""


@pytest.mark.slow
@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_a_parameter_server_that_went_is_one_line_of_the_log(
    trainer, base_path, make_pusher, monkeypatch, caplog, level
):
    caplog.set_level(level, "monolith_tf.serving.pusher")
    pusher = make_pusher("127.0.0.1:9", trainer.export(base_path))

    def take_delta(*_):
        raise tf.errors.UnavailableError(None, None, SERVER_GONE)

    monkeypatch.setattr(pusher._trainer, "take_delta", take_delta)
    pusher.start()
    gone = "UnavailableError: failed to connect to all addresses \\(ps 1\\)$"
    with pytest.raises(DeliveryError, match=gone):
        pusher.close()
    error, *others = caplog.records
    assert error.levelname == "ERROR"
    assert re.search(gone, error.getMessage())
    assert error.getMessage().startswith(
        "Pushing deltas to 'ranker' at 127.0.0.1:9 stopped: "
    )
    assert not error.exc_info
    assert [bool(other.exc_info) for other in others] == (
        [True] if level == "DEBUG" else []
    )


@pytest.mark.slow
def test_what_nobody_foresaw_is_logged_with_its_traceback(
    trainer, base_path, make_pusher, monkeypatch, caplog
):
    pusher = make_pusher("127.0.0.1:9", trainer.export(base_path))
    monkeypatch.setattr(pusher._trainer, "take_delta", lambda *_: 1 / 0)
    pusher.start()
    with pytest.raises(DeliveryError, match="ZeroDivisionError: division by"):
        pusher.close()
    (error,) = caplog.records
    assert error.exc_info[0] is ZeroDivisionError


@pytest.mark.slow
def test_close_says_when_the_last_delta_was_not_taken(
    trainer, base_path, make_pusher
):
    record = trainer.export(base_path)
    pusher = make_pusher(
        "127.0.0.1:9", record, max_attempts=1, flush_timeout_seconds=0.1
    )
    pusher.start()
    with pytest.raises(DeliveryError, match="were not acknowledged"):
        pusher.close()


@pytest.mark.slow
def test_counters_are_given_to_prometheus(
    trainer, base_path, make_server, make_pusher
):
    prometheus_client = pytest.importorskip("prometheus_client")
    registry = prometheus_client.CollectorRegistry()
    record = trainer.export(base_path)
    pusher = make_pusher(make_server(), record, metrics=PushMetrics(registry))
    trainer.change(seed=1)
    pusher.push()
    get = registry.get_sample_value
    assert get("monolith_delta_rows_total") == pusher.metrics.rows > 0
    assert get("monolith_delta_lag_seconds") == pusher.metrics.lag_seconds


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunk_rows": 5000}, "chunk_rows=5000"),
        ({"timeout_seconds": 0}, "timeout_seconds=0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PushOptions(**options)


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(TypeError, match="Received: str"):
        DeltaPusher("model", "localhost:1", "ranker", tmp_path, tmp_path)
