"""Which rows go: by time, above a cap, on demand. They come back new."""

from __future__ import annotations

import numpy as np
import pytest
from evicting_table import ids_of
from evicting_table import make
from evicting_table import update

import monolith_tf as mt
from monolith_tf.checkpoint.table_rows import export_rows


def test_a_row_goes_when_its_last_update_is_older_than_the_ttl(shards):
    table = make(mt.Eviction(ttl_seconds=100))
    update(table, [1, 2], event_time=1000)
    update(table, [2], event_time=1050)
    assert table.sweep(event_time=1100) == 0
    assert table.sweep(event_time=1101) == 1
    assert ids_of(table) == [2]
    assert table.stats().num_expired == 1


def test_an_update_after_its_time_starts_a_row_anew(shards):
    table = make(
        mt.Eviction(ttl_seconds=100),
        optimizer=mt.optimizers.Adagrad(1.0, 0.0, 1e-30),
    )
    update(table, [1], event_time=1000, gradient=3.0)
    update(table, [1], event_time=1101, gradient=4.0)
    # Initial weight and initial accumulator: 1 - 4 / sqrt(16).
    np.testing.assert_allclose(table.lookup([1]), [[0.0]], atol=1e-6)


def test_updates_sweep_a_little_each(shards):
    table = make(mt.Eviction(ttl_seconds=100))
    update(table, range(2000), event_time=1000)
    # A stripe is swept by the updates that have ids of it: of three servers it
    # gets 62 on average, and has ten old ones.
    for step in range(60):
        start = 10_000 + step * 200
        update(table, range(start, start + 200), event_time=2000 + step)
    assert table.stats().num_expired == 2000
    assert table.size() == 60 * 200


def test_rows_go_also_where_updates_have_no_ids(shards):
    table = make(mt.Eviction(ttl_seconds=100))
    update(table, range(500), event_time=1000)
    # Of each server one of its 64 parts at an update, each in its turn.
    for step in range(2 * 64):
        update(table, [-1], event_time=2000 + step)
    assert table.stats().num_expired == 500
    assert ids_of(table) == [-1]


def test_time_does_not_go_back(shards):
    table = make(mt.Eviction(ttl_seconds=100))
    update(table, [1], event_time=1000)
    update(table, [1], event_time=500)
    ((_, stamps, _),) = export_rows(table)
    assert stamps.tolist() == [1000]
    update(table, [2], event_time=1200)
    # What counts is the latest time that was seen.
    table.sweep(event_time=0)
    assert table.stats().num_expired == 1
    assert ids_of(table) == [2]


def test_time_passes_for_servers_without_ids_in_the_batch(shards):
    table = make(mt.Eviction(ttl_seconds=100))
    update(table, range(20), event_time=1000)
    update(table, [100], event_time=2000)
    table.sweep(event_time=0)
    assert table.stats().num_expired == 20
    assert ids_of(table) == [100]


def test_a_lookup_reads_what_the_sweep_did_not_reach(shards):
    table = make(mt.Eviction(ttl_seconds=100))
    update(table, [1], event_time=1000)
    np.testing.assert_array_equal(table.lookup([1]), [[0.0]])
    table.sweep(event_time=9000)
    np.testing.assert_array_equal(table.lookup([1]), [[1.0]])


def test_an_assignment_is_an_update_as_to_time(shards):
    table = make(mt.Eviction(ttl_seconds=100))
    table.assign([1, 2], [[5.0], [5.0]], event_time=1000)
    table.assign([1], [[6.0]], event_time=1090)
    assert table.sweep(event_time=1110) == 1
    np.testing.assert_array_equal(table.lookup([1]), [[6.0]])


@pytest.mark.parametrize("time", [-1, 1 << 32, 1_700_000_000_000])
def test_a_sweep_at_no_time_in_seconds_is_refused(shards, time):
    table = make(mt.Eviction(ttl_seconds=100))
    update(table, [1], event_time=1000)
    with pytest.raises(Exception, match="seconds since the epoch"):
        table.sweep(event_time=time)
    assert table.size() == 1


def test_the_cap_holds_after_every_step(shards):
    table = make(mt.Eviction(max_rows=60))
    for step in range(20):
        update(table, range(step * 10, step * 10 + 50), event_time=step)
        assert table.size() <= 60
    # Each server keeps to its share.
    assert table.size() == 60 if shards == 1 else table.size() > 40
    assert table.stats().num_capped > 0


def test_lru_keeps_those_updated_last():
    table = make(mt.Eviction(max_rows=10))
    update(table, range(10), event_time=100)
    update(table, [3, 4], event_time=200)
    update(table, range(20, 28), event_time=300)
    assert ids_of(table) == [3, 4, *range(20, 28)]


def test_updates_of_one_second_are_in_their_order():
    table = make(mt.Eviction(max_rows=2))
    for id in (3, 2, 1):
        table.apply_gradients([id], [[1.0]])
    assert ids_of(table) == [1, 2]


def test_an_id_of_every_batch_stays(shards):
    table = make(mt.Eviction(max_rows=300))
    for step in range(300):
        start = 1000 + 40 * step
        update(table, [7, *range(start, start + 40)], event_time=1)
    np.testing.assert_array_equal(table.lookup([7]), [[1.0 - 300]])


# From 8,192 ids on, an op works in parts, on several threads.
@pytest.mark.parametrize("policy", ["lru", "lfu", "lowest_norm"])
@pytest.mark.parametrize("cap", [1500, 3000, 9000, 12_000])
def test_rows_of_the_update_do_not_start_anew(cap, policy):
    table = make(
        mt.Eviction(max_rows=cap, policy=policy),
        initializer=mt.initializers.Zeros(),
    )
    known = np.arange(cap // 2)
    others = np.arange(100_000, 100_000 + cap - cap // 2)
    update(table, [*known, *others], event_time=1)
    fresh = np.arange(200_000, 200_000 + cap - cap // 2)
    update(table, [*fresh, *known], event_time=1)
    assert ids_of(table) == [*known, *fresh]
    np.testing.assert_array_equal(np.unique(table.lookup(known)), [-2.0])
    np.testing.assert_array_equal(np.unique(table.lookup(fresh)), [-1.0])
    # As many more as the cap: only rows of the update are left.
    update(table, range(300_000, 300_000 + 2 * cap), event_time=1)
    assert table.size() == cap
    assert min(ids_of(table)) >= 300_000


def test_a_new_id_gets_into_a_full_lfu_table():
    table = make(mt.Eviction(max_rows=3, policy="lfu"))
    for time in range(200):
        update(table, [1, 2, 3] if time < 20 else [2, 3], event_time=time)
    update(table, [77], event_time=100)
    # 1 occurred least.
    assert ids_of(table) == [2, 3, 77]
    np.testing.assert_array_equal(table.lookup([77]), [[0.0]])


def test_a_new_id_gets_into_a_full_table_of_the_largest():
    table = make(
        mt.Eviction(max_rows=3, policy="lowest_norm"),
        initializer=mt.initializers.Zeros(),
    )
    table.assign([1, 2, 3], [[5.0], [2.0], [-9.0]], event_time=1)
    update(table, [77], event_time=1)
    assert ids_of(table) == [1, 3, 77]
    np.testing.assert_array_equal(table.lookup([77]), [[-1.0]])


def test_lfu_keeps_those_that_occurred_most():
    table = make(mt.Eviction(max_rows=10, policy="lfu"))
    for time in range(100):
        update(table, [1, 2, 3], event_time=time)
    for new in range(10, 200, 5):
        update(table, range(new, new + 5), event_time=1000 + new)
    assert {1, 2, 3} <= set(ids_of(table))
    assert table.size() == 10


def test_lowest_norm_keeps_the_largest_weights():
    table = make(mt.Eviction(max_rows=3, policy="lowest_norm"), dim=2)
    rows = [[1, 0], [0, -9], [3, 3], [2, 0], [-4, 4]]
    table.assign(range(5), np.array(rows, np.float32), event_time=0)
    assert ids_of(table) == [1, 2, 4]


def test_lowest_norm_needs_no_times():
    table = make(
        mt.Eviction(max_rows=3, policy="lowest_norm"), tracks_changes=False
    )
    table.assign(range(5), [[5.0], [4.0], [3.0], [2.0], [1.0]])
    assert ids_of(table) == [0, 1, 2]


def test_a_cap_in_bytes_is_one_of_rows():
    table = make(mt.Eviction(max_bytes=1 << 16), dim=16)
    update(table, range(5000), event_time=1)
    assert 0 < table.size() < 5000
    stats = table.stats()
    assert stats.row_bytes <= 1 << 16
    # 88 bytes of header and weights; 15 of index; segments of few rows.
    assert table.size() >= (1 << 16) // 125


@pytest.mark.parametrize("mebibytes", [8, 64])
def test_a_cap_in_bytes_bounds_rows_and_index(mebibytes):
    max_bytes = mebibytes << 20
    table = make(mt.Eviction(max_bytes=max_bytes), dim=16)
    num_new = 2 * max_bytes // 88 // 50
    for step in range(50):
        update(table, range(step * num_new, (step + 1) * num_new), event_time=1)
    table.sweep(event_time=1)
    stats = table.stats()
    assert stats.arena_bytes + stats.index_bytes <= max_bytes
    assert stats.row_bytes >= 0.75 * max_bytes
    # And what the pool keeps for rows to come.
    assert table.memory_bytes() <= max_bytes + (5 << 20)


def test_ids_that_wait_take_of_a_cap_in_bytes():
    table = make(
        mt.Eviction(max_bytes=1 << 20),
        dim=16,
        admission=mt.Admission(min_count=2),
    )
    ids = [*range(20_000)] * 2
    update(table, ids, event_time=1)
    most = table.size()
    update(table, range(100_000, 110_000), event_time=1)
    assert table.size() < 0.8 * most
    update(table, range(200_000, 300_000), event_time=1)
    assert table.size() == pytest.approx(most / 2, abs=1)


def test_a_large_cap_holds_after_every_step(shards):
    table = make(mt.Eviction(max_rows=20_000))
    for step in range(10):
        update(table, range(step * 5000, step * 5000 + 5000), event_time=step)
        assert table.size() <= 20_000
    # Nearly all of the latest are there; the old ones went.
    found = np.array(ids_of(table))
    assert np.count_nonzero(found >= 45_000) > 4500
    assert np.count_nonzero(found < 10_000) < 1000


def test_ttl_and_cap_go_together(shards):
    table = make(mt.Eviction(ttl_seconds=10, max_rows=30))
    update(table, range(100), event_time=0)
    assert table.size() <= 30
    update(table, [1000], event_time=11)
    table.sweep(event_time=11)
    assert ids_of(table) == [1000]


def test_memory_is_given_back():
    table = make(mt.Eviction(ttl_seconds=10), dim=16)
    update(table, range(500_000), event_time=0)
    update(table, range(50_000), event_time=100)
    full = table.memory_bytes()
    table.sweep(event_time=100)
    assert table.size() == 50_000
    fresh = make(mt.Eviction(ttl_seconds=10), name="fresh", dim=16)
    update(fresh, range(50_000), event_time=100)
    fresh.sweep(event_time=100)
    assert table.memory_bytes() < 0.3 * full
    # Two pages of 2 MiB stay for rows to come.
    kept = 2 * (2 << 20)
    assert table.memory_bytes() <= 1.4 * fresh.memory_bytes() + kept


def changes_since(table_set, cuts):
    """Maps each changed id to whether it has a row."""
    return {
        int(id): bool(exists)
        for shard, cut in enumerate(cuts)
        for part in table_set.take_delta(shard, cut).tables.values()
        for id, exists in zip(part.ids, part.exists, strict=True)
    }


def test_an_evicted_row_is_a_tombstone_in_the_next_delta(shards):
    table = make(mt.Eviction(ttl_seconds=100))
    update(table, [1, 2], event_time=1000)
    cuts = table.table_set.start_deltas()
    update(table, [2], event_time=1050)
    table.sweep(event_time=1120)
    assert changes_since(table.table_set, cuts) == {1: False, 2: True}


def test_rows_evicted_for_the_cap_are_tombstones_too(shards):
    table = make(mt.Eviction(max_rows=3 * shards))
    cuts = table.table_set.start_deltas()
    update(table, range(50), event_time=1)
    update(table, range(100, 150), event_time=2)
    changes = changes_since(table.table_set, cuts)
    assert sorted(id for id, there in changes.items() if there) == ids_of(table)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"ttl_seconds": -1}, ValueError, "ttl_seconds from 0.*=-1"),
        ({"ttl_seconds": 1 << 32}, ValueError, "ttl_seconds from 0"),
        ({"ttl_seconds": 1.5}, TypeError, "integer for ttl_seconds"),
        ({"max_future_seconds": -1}, ValueError, "max_future_seconds from 0"),
        ({"max_future_seconds": 1.5}, TypeError, "for max_future_seconds"),
        ({"max_rows": -5}, ValueError, "max_rows from 0"),
        ({"max_rows": 1 << 63}, ValueError, "max_rows from 0"),
        ({"max_rows": True}, TypeError, "integer for max_rows"),
        ({"max_bytes": -5}, ValueError, "max_bytes from 0"),
        ({"max_bytes": "1G"}, TypeError, "integer for max_bytes"),
        (
            {"policy": "random"},
            ValueError,
            "one of lru, lfu, lowest_norm for policy",
        ),
    ],
)
def test_a_bad_eviction_says_what_is_wrong(arguments, error, message):
    with pytest.raises(error, match=message):
        mt.Eviction(**arguments)


@pytest.mark.parametrize(
    "eviction",
    [
        mt.Eviction(ttl_seconds=1),
        mt.Eviction(max_rows=1),
        mt.Eviction(max_bytes=1000, policy="lfu"),
    ],
)
def test_eviction_by_time_needs_rows_that_know_it(eviction):
    with pytest.raises(ValueError, match="Table 'x'.*tracks_changes=False"):
        mt.TableConfig("x", dim=1, eviction=eviction, tracks_changes=False)


def test_eviction_of_another_type_is_refused():
    with pytest.raises(TypeError, match="eviction of table 'x' must be"):
        mt.TableConfig("x", dim=1, eviction={"ttl_seconds": 5})


def test_shares_of_a_cap_sum_to_it():
    eviction = mt.Eviction(max_rows=100, max_bytes=7)
    for num_shards in (1, 2, 3, 7):
        shares = [
            eviction.share(s, num_shards, "max_rows") for s in range(num_shards)
        ]
        assert sum(shares) == 100
        assert max(shares) - min(shares) <= 1
    assert eviction.share(3, 100, "max_bytes") == 1
