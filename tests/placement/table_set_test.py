"""Deltas of a table set: nothing lost, nothing twice, nothing between cuts."""

from __future__ import annotations

import threading

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf.placement.registry import tables_of


def make(name="delta", num_shards=1, dim=2):
    with mt.TableSet(num_shards=num_shards):
        return mt.Table(
            mt.TableConfig(
                name,
                dim=dim,
                optimizer=mt.optimizers.SGD(0.5),
                initializer=mt.initializers.Zeros(),
            )
        )


class Replica:
    """Follows a table by its deltas, as a server does."""

    def __init__(self, table):
        self.table = table
        self.rows = {}
        self.cuts = table.table_set.start_deltas()

    def take(self, acknowledge=True):
        table_set = self.table.table_set
        for shard in range(table_set.num_shards):
            delta = table_set.take_delta(shard, self.cuts[shard])
            assert delta.from_cut == self.cuts[shard] < delta.to_cut
            part = delta.tables[self.table.name]
            assert len(set(part.ids.tolist())) == len(part.ids)
            if not acknowledge:
                continue
            self.cuts[shard] = delta.to_cut
            rows = iter(part.rows)
            for id, exists in zip(part.ids.tolist(), part.exists, strict=True):
                if exists:
                    row = next(rows)
                    self.rows[id] = tuple(row)
                else:
                    self.rows.pop(id, None)

    def check(self):
        expected = {
            int(id): tuple(row)
            for ids, rows in self.table.export()
            for id, row in zip(ids, rows, strict=True)
        }
        assert self.rows == expected


def ones(n):
    return np.ones([n, 2], np.float32)


def test_delta_holds_what_changed_since_the_cut():
    table = make()
    table.assign([1], ones(1))
    cuts = table.table_set.start_deltas()
    table.assign([2, 3], ones(2))
    table.remove([1])
    delta = table.table_set.take_delta(0, cuts[0])
    part = delta.tables["delta"]
    assert part.ids.tolist() == [1, 2, 3]
    assert part.exists.tolist() == [False, True, True]
    np.testing.assert_array_equal(part.rows, [[1, 1], [1, 1]])
    empty = table.table_set.take_delta(0, delta.to_cut).tables["delta"]
    assert empty.ids.shape == (0,)
    assert empty.rows.shape == (0, 2)


def test_delta_that_was_not_acknowledged_comes_again_with_newer_values():
    table = make()
    replica = Replica(table)
    table.assign([1, 2], ones(2))
    replica.take(acknowledge=False)
    table.assign([2, 3], 5 * ones(2))
    replica.take()
    replica.check()
    assert replica.rows == {1: (1, 1), 2: (5, 5), 3: (5, 5)}


def test_lookup_is_not_a_change():
    table = make()
    cuts = table.table_set.start_deltas()
    table.lookup([1, 2, 3])
    assert not table.table_set.take_delta(0, cuts[0]).tables["delta"].ids.size


def test_cut_of_the_future_or_of_a_forgotten_past_is_refused():
    table = make()
    with pytest.raises(tf.errors.FailedPreconditionError):
        table.table_set.take_delta(0, 0)
    cuts = table.table_set.start_deltas()
    with pytest.raises(tf.errors.InvalidArgumentError, match="negative"):
        table.table_set.take_delta(0, -1)
    for later in (1, 2**20, 2**24, 2**31, 2**63 - 1 - cuts[0]):
        with pytest.raises(
            tf.errors.OutOfRangeError, match="before the shard was restarted"
        ):
            table.table_set.take_delta(0, cuts[0] + later)
    taken = table.table_set.take_delta(0, cuts[0])
    table.table_set.take_delta(0, taken.to_cut)
    with pytest.raises(tf.errors.OutOfRangeError):
        table.table_set.take_delta(0, cuts[0])


def test_restore_draws_a_new_generation(tmp_path):
    table = make(num_shards=2)
    generations = table.table_set.generations()
    assert all(generation > 0 for generation in generations)
    checkpoint = tf.train.Checkpoint(table=table)
    checkpoint.restore(checkpoint.save(tmp_path / "checkpoint"))
    renewed = table.table_set.generations()
    assert not set(generations) & set(renewed)


@pytest.mark.slow
@hypothesis.settings(max_examples=30)
@hypothesis.given(
    operations=st.lists(
        st.tuples(
            st.sampled_from(
                ["assign", "apply", "remove", "clear", "take", "lose"]
            ),
            st.lists(st.integers(-4, 4), max_size=4),
        ),
        max_size=30,
    ),
    num_shards=st.integers(1, 3),
)
def test_replica_equals_the_table_after_any_operations(operations, num_shards):
    table = make(num_shards=num_shards)
    replica = Replica(table)
    for number, (name, ids) in enumerate(operations):
        ids = np.array(ids, np.int64)
        rows = np.full([len(ids), 2], number, np.float32)
        if name == "assign":
            table.assign(ids, rows)
        elif name == "apply":
            table.apply_gradients(ids, rows)
        elif name == "remove":
            table.remove(ids)
        elif name == "clear":
            table.clear()
        else:
            replica.take(acknowledge=name == "take")
    replica.take()
    replica.check()


def test_nothing_falls_between_cuts_while_four_threads_update():
    table = make(num_shards=2)
    replica = Replica(table)
    errors = []

    def update(seed):
        random = np.random.default_rng(seed)
        try:
            for _ in range(150):
                ids = random.integers(-200, 200, 64)
                if random.random() < 0.2:
                    table.remove(ids[:8])
                else:
                    rows = random.normal(size=[64, 2]).astype(np.float32)
                    table.apply_gradients(ids, rows)
        except Exception as error:  # noqa: BLE001  Shown by the assertion.
            errors.append(error)

    threads = [threading.Thread(target=update, args=[i]) for i in range(4)]
    for thread in threads:
        thread.start()
    cuts = 0
    while any(thread.is_alive() for thread in threads):
        replica.take(acknowledge=cuts % 3 != 0)
        cuts += 1
    for thread in threads:
        thread.join()
    assert not errors
    assert cuts > 3
    replica.take()
    replica.check()


def test_tables_of_a_list_are_distinct_and_ordered():
    with mt.TableSet():
        b = mt.Table(mt.TableConfig("b", dim=1))
        a = mt.Table(mt.TableConfig("a", dim=1))
    assert tables_of([b, a, b]) == [a, b]


def test_model_with_two_tables_of_one_name_is_refused():
    with pytest.raises(ValueError, match="Two tables are named 'delta'"):
        tables_of([make(), make()])


def test_model_over_two_table_sets_is_refused():
    with pytest.raises(ValueError, match="belong to different table sets"):
        tables_of([make("a"), make("b")])


def test_context_is_left_by_the_end_of_the_block():
    with mt.TableSet() as outer:
        with mt.TableSet(num_shards=2) as inner:
            x = mt.Table(mt.TableConfig("x", dim=1))
            assert x.table_set is inner
        y = mt.Table(mt.TableConfig("y", dim=1))
        assert y.table_set is outer


@pytest.mark.parametrize(
    ("num_shards", "error", "message"),
    [
        (0, ValueError, "from 1 to 4096. Received: num_shards=0"),
        (4097, ValueError, "from 1 to 4096. Received: num_shards=4097"),
        (1.5, TypeError, r"must be an integer.*num_shards=1.5 \(of type float"),
        ("2", TypeError, r"must be an integer.*num_shards='2' \(of type str"),
    ],
)
def test_a_number_of_shards_that_is_none_is_refused(num_shards, error, message):
    with pytest.raises(error, match=message):
        mt.TableSet(num_shards=num_shards)


def test_a_log_that_nobody_takes_stays_within_its_limit():
    with mt.TableSet(max_log_bytes=1 << 20) as tables:
        table = mt.Table(
            mt.TableConfig(
                "stream", dim=1, eviction=mt.Eviction(ttl_seconds=10)
            )
        )
    cuts = tables.start_deltas()
    for step in range(40):
        # Ids that come and go: the table does not grow.
        ids = np.arange(step * 20_000, (step + 1) * 20_000)
        table.apply_gradients(
            ids, np.zeros([len(ids), 1], np.float32), event_time=20 * step + 1
        )
        table.sweep(20 * step + 1)
        assert table.stats().log_bytes < 2 << 20
    assert table.stats().num_dropped_logs > 2
    with pytest.raises(tf.errors.OutOfRangeError, match="Resync from an"):
        tables.take_delta(0, cuts[0])


def test_deltas_that_are_stopped_free_their_log():
    with mt.TableSet(num_shards=2) as tables:
        table = mt.Table(mt.TableConfig("stream", dim=1))
    tables.start_deltas()
    ids = np.arange(1000)
    table.assign(ids, np.zeros([1000, 1], np.float32))
    assert table.stats().log_bytes >= 8000
    tables.stop_deltas()
    table.assign(ids, np.ones([1000, 1], np.float32))
    assert table.stats().log_bytes == 0
    with pytest.raises(
        tf.errors.FailedPreconditionError, match="were not started"
    ):
        tables.take_delta(0, 0)


@pytest.mark.parametrize(
    ("limit", "error", "message"),
    [
        (-1, ValueError, "from 0 to .* Received: max_log_bytes=-1"),
        (1.5, TypeError, "must be an integer. Received: max_log_bytes=1.5"),
    ],
)
def test_a_limit_of_the_log_that_is_none_is_refused(limit, error, message):
    with pytest.raises(error, match=message):
        mt.TableSet(max_log_bytes=limit)
