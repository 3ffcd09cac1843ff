"""A trainer or a pusher that starts again goes on where the server is."""

import os

import pytest


def log_files(tmp_path):
    (folder,) = (p for p in (tmp_path / "log").iterdir() if p.is_dir())
    return sorted(folder.iterdir())


@pytest.mark.slow
def test_a_trainer_that_came_back_with_older_rows_ends_equal(
    trainer, make_trainer, base_path, make_server, make_client, make_pusher,
    assert_equal, tmp_path,
):  # fmt: skip
    record = trainer.export(base_path)
    server = make_server()
    client = make_client(server)
    pusher = make_pusher(server, record)
    trainer.change(seed=1)
    checkpoint = str(tmp_path / "weights")
    trainer.model.save_weights(checkpoint)
    trainer.change(seed=2)
    pusher.push()
    assert_equal(client, trainer)
    # Killed after the acknowledgement: no goodbye, only the lock is free.
    pusher._log.close()
    restored = make_trainer()
    restored.model.load_weights(checkpoint)
    restored.change(seed=3)
    second = make_pusher(server, record, source=restored)
    second.flush()
    assert second.metrics.resyncs == 1
    restored.change(seed=4)
    second.flush()
    assert_equal(client, restored)


@pytest.mark.slow
def test_a_pusher_made_again_beside_the_same_trainer_goes_on(
    trainer, base_path, make_server, make_client, make_pusher, assert_equal
):
    record = trainer.export(base_path)
    server = make_server()
    first = make_pusher(server, record, chunk_rows=16)
    trainer.change(seed=1)
    first.close()
    trainer.change(seed=2)
    second = make_pusher(server, record)
    second.flush()
    assert second.metrics.resyncs == 0
    assert_equal(make_client(server), trainer)


@pytest.mark.slow
def test_a_pusher_made_again_after_idle_rounds_needs_no_export(
    trainer, base_path, make_server, make_client, make_pusher, assert_equal
):
    # An idle round tells the table that the last delta is safe, and the table
    # forgets it: the next pusher must not ask for it again.
    record = trainer.export(base_path)
    server = make_server()
    for seed in range(3):
        pusher = make_pusher(server, record, chunk_rows=16)
        trainer.change(seed)
        pusher.push()
        pusher.push()
        pusher.close()
        assert pusher.metrics.resyncs == 0
    assert_equal(make_client(server), trainer)


@pytest.mark.slow
def test_a_pusher_whose_log_is_gone_exports_anew(
    trainer, base_path, make_server, make_client, make_pusher, assert_equal,
    tmp_path,
):  # fmt: skip
    record = trainer.export(base_path)
    server = make_server()
    first = make_pusher(server, record)
    trainer.change(seed=1)
    first.close()
    for path in log_files(tmp_path):
        os.remove(path)
    trainer.change(seed=2)
    second = make_pusher(server, record)
    second.flush()
    assert second.metrics.resyncs == 1
    assert_equal(make_client(server), trainer)


@pytest.mark.slow
def test_a_trainer_that_came_back_with_fewer_cuts_ends_equal(
    trainer, make_trainer, base_path, make_server, make_client, make_pusher,
    assert_equal, caplog,
):  # fmt: skip
    # The log knows cuts that the new tables have not come to.
    record = trainer.export(base_path)
    server = make_server()
    pusher = make_pusher(server, record)
    for seed in range(20):
        trainer.change(seed)
        pusher.push()
    # Killed: no goodbye, only the lock is free.
    pusher._log.close()
    restored = make_trainer()
    restored.change(seed=30)
    second = make_pusher(server, record, source=restored)
    second.flush(30)
    assert second.metrics.resyncs == 1
    assert "lacks the changes after cut 20: it was" in caplog.text
    assert_equal(make_client(server), restored)
