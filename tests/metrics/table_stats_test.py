"""Table statistics, field by field."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import prometheus_client
import pytest

import monolith_tf as mt
from monolith_tf.checkpoint.table_rows import export_rows
from monolith_tf.checkpoint.table_rows import import_rows

FIELDS = dataclasses.fields(mt.metrics.TableStats)


@pytest.fixture(params=[1, 3])
def shards(request):
    with mt.TableSet(num_shards=request.param):
        yield request.param


def make(name="table", **arguments):
    arguments.setdefault("dim", 4)
    arguments.setdefault("optimizer", mt.optimizers.SGD(1.0))
    return mt.Table(mt.TableConfig(name, **arguments))


def update(table, ids, gradient=1.0, event_time=1000):
    ids = np.array(ids, np.int64)
    gradients = np.full([len(ids), table.dim], gradient, np.float32)
    table.apply_gradients(ids, gradients, event_time=event_time)


def test_names_are_those_of_the_header_in_its_order(repository_root):
    header = (repository_root / "ops/cc/table/table_stats.h").read_text()
    listed = header.split("#define MONOLITH_TABLE_STATS(FIELD)")[1]
    listed = listed.split("struct TableStats")[0]
    declared = [field.name for field in FIELDS]
    assert re.findall(r"FIELD\((\w+)\)", listed) == declared


def test_every_statistic_has_a_kind_a_unit_and_a_line_of_help():
    for field in FIELDS:
        assert field.metadata["kind"] in ("gauge", "counter")
        is_bytes = field.name.endswith("_bytes")
        assert (field.metadata["unit"] == "bytes") == is_bytes
        assert field.metadata["help"].endswith(".")
    text = " ".join(mt.metrics.TableStats.__doc__.split())
    for field in FIELDS:
        assert f"{field.name}: {field.metadata['help']}" in text


def test_rows_are_counted_by_how_they_came_and_went(shards):
    table = make(eviction=mt.Eviction(ttl_seconds=100))
    update(table, range(10))
    table.assign([100, 101, 0], np.zeros([3, 4], np.float32), event_time=1090)
    table.remove([1, 2, 999])
    table.sweep(event_time=1110)
    stats = table.stats()
    assert stats.num_admitted == 10
    assert stats.num_written == 2
    assert stats.num_removed == 2
    assert stats.num_expired == 7
    assert stats.num_rows == 3 == table.size()
    assert stats.num_capped == stats.num_rejected == stats.num_counted == 0


def test_a_row_that_was_imported_is_written(shards):
    table = make()
    update(table, range(5))
    parts = list(export_rows(table))
    table.clear()
    for part in parts:
        import_rows(table, *part)
    stats = table.stats()
    assert (stats.num_removed, stats.num_written) == (5, 5)


def test_capped_rows_are_counted(shards):
    table = make(eviction=mt.Eviction(max_rows=3))
    update(table, range(100))
    stats = table.stats()
    assert stats.num_admitted == 100
    assert stats.num_rows + stats.num_capped == 100


def test_counted_and_rejected_ids_are_told_apart(shards):
    table = make(admission=mt.Admission(min_count=3))
    update(table, [1, 2])
    update(table, [1])
    stats = table.stats()
    assert (stats.num_counted, stats.num_rejected) == (2, 3)
    assert stats.counter_bytes > 0
    assert stats.sketch_bytes == 0


def test_a_sketch_has_bytes_and_counts_no_ids(shards):
    table = make(admission=mt.Admission(min_count=3, sketch_bytes=1 << 16))
    update(table, range(1000))
    stats = table.stats()
    assert stats.num_counted == 0
    assert stats.num_rejected == 1000
    assert 1 << 16 <= stats.sketch_bytes <= 1 << 19


@pytest.mark.parametrize(
    "bad", [np.nan, np.inf, -np.inf, 2.0**48 * 1.001, -3e38]
)
def test_a_bad_gradient_is_dropped_and_counted(shards, bad):
    table = make(optimizer=mt.optimizers.Adam())
    update(table, [1, 2])
    before = table.lookup([1, 2, 3]).numpy()
    gradients = np.ones([3, 4], np.float32)
    gradients[[0, 2], 3] = bad
    table.apply_gradients([1, 2, 3], gradients)
    after = table.lookup([1, 2, 3]).numpy()
    assert table.stats().num_bad_gradients == 2
    np.testing.assert_array_equal(after[[0, 2]], before[[0, 2]])
    assert np.all(after[1] != before[1])
    assert table.size() == 2


def test_the_largest_gradient_that_is_taken_is_taken(shards):
    table = make()
    update(table, [1], gradient=2.0**48)
    assert table.stats().num_bad_gradients == 0
    np.testing.assert_allclose(table.lookup([1]), np.full([1, 4], -(2.0**48)))


def test_a_bad_gradient_is_not_counted_as_an_occurrence(shards):
    table = make(admission=mt.Admission(min_count=2))
    update(table, [1], gradient=np.nan)
    update(table, [1])
    stats = table.stats()
    assert (stats.num_rows, stats.num_bad_gradients) == (0, 1)


def test_bytes_add_up(shards):
    table = make(dim=16)
    update(table, range(10_000))
    stats = table.stats()
    assert stats.row_bytes == 10_000 * (16 + 64)
    assert stats.row_bytes <= stats.arena_bytes
    assert stats.index_bytes >= 10_000 * 4
    assert stats.memory_bytes == (
        stats.arena_bytes + stats.index_bytes + stats.log_bytes
    )
    assert stats.memory_bytes == table.memory_bytes()


def test_pretrained_rows_have_bytes(shards):
    rows = np.ones([1000, 4], np.float32)
    initializer = mt.initializers.Pretrained(
        np.arange(1000), rows, mt.initializers.Zeros()
    )
    stats = make(initializer=initializer).stats()
    # 8 bytes per id, 4 a number, and 8 to 16 of index for each row.
    assert 1000 * (8 + 16 + 8) <= stats.pretrained_bytes
    assert stats.pretrained_bytes <= 1000 * (8 + 16 + 16) + 256
    without = make("without").stats()
    assert without.pretrained_bytes == 0
    assert stats.memory_bytes == (without.memory_bytes + stats.pretrained_bytes)


def test_large_tables_are_cut_from_a_pool():
    table = make(dim=16)
    update(table, range(300_000))
    stats = table.stats()
    assert 0 < stats.pool_bytes <= stats.memory_bytes
    assert 0 <= stats.idle_bytes < stats.pool_bytes
    assert 0 <= stats.huge_page_bytes <= stats.pool_bytes
    assert 0.0 <= stats.huge_page_share <= 1.0


def test_the_log_of_changes_has_bytes(shards):
    table = make()
    table.table_set.start_deltas()
    before = table.stats().log_bytes
    update(table, range(10_000))
    assert table.stats().log_bytes >= before + 10_000 * 8


def test_the_index_tells_its_load_and_its_probes(shards):
    table = make()
    update(table, range(10_000))
    stats = table.stats()
    assert stats.index_entries == 10_000
    assert stats.index_capacity > 10_000
    assert 0 <= stats.index_stash < 100
    assert stats.load_factor == stats.index_entries / stats.index_capacity
    assert 0 < stats.probed_in_first <= stats.probed_entries <= 10_000
    assert 1.0 <= stats.mean_probes < 2.0


def test_an_empty_table_divides_by_nothing(shards):
    stats = make().stats()
    assert (stats.num_rows, stats.load_factor) == (0, 0.0)
    assert (stats.mean_probes, stats.huge_page_share) == (1.0, 0.0)


def test_stats_of_a_set_of_a_list_and_of_nothing():
    with mt.TableSet(num_shards=2) as table_set:
        user, movie = make("user"), make("movie")
    update(user, range(7))
    assert list(mt.metrics.stats(table_set)) == ["movie", "user"]
    assert mt.metrics.stats([user])["user"].num_rows == 7
    assert list(mt.metrics.stats([movie])) == ["movie"]
    assert mt.metrics.stats([]) == {}


def test_the_collector_gives_every_number_to_prometheus(shards):
    table = make(admission=mt.Admission(min_count=2))
    registry = prometheus_client.CollectorRegistry()
    registry.register(mt.metrics.StatsCollector(table))
    update(table, [1, 1, 2])
    expected = table.stats()
    for field in FIELDS:
        name = field.name
        labels = {"table": "table"}
        gauge = registry.get_sample_value(f"monolith_table_{name}", labels)
        counter = registry.get_sample_value(
            f"monolith_table_{name}_total", labels
        )
        found = counter if gauge is None else gauge
        if name in ("pool_bytes", "idle_bytes", "huge_page_bytes"):
            assert found is not None
        else:
            assert found == getattr(expected, name), name
    text = prometheus_client.generate_latest(registry).decode()
    assert 'monolith_table_num_rows{table="table"} 1.0' in text
    assert "# TYPE monolith_table_num_rejected_total counter" in text
