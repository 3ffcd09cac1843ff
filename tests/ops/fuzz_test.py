"""Any numbers at all: an op refuses them and changes nothing, or takes them.

Never a crash, never half a request, never a row that is not finite.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf import ops

SETTINGS = hypothesis.settings(max_examples=150)
EDGES = [0, 1, 2, 3, -1, 1 << 31, 1 << 32, (1 << 32) - 1, 1 << 62]
EDGES += [(1 << 63) - 1, -(1 << 63), -(1 << 32)]
NUMBER = st.one_of(st.integers(-3, 12), st.sampled_from(EDGES))
NUMBERS = st.lists(NUMBER, max_size=24)
FLOAT = st.sampled_from(
    [0.0, 1.0, -0.5, 2.0**48, -(2.0**48), 2.0**49, 3e38, -3e38, 1e-40]
    + [float("nan"), float("inf"), float("-inf")]
)
GOOD_FLOAT = st.sampled_from([0.0, 1.0, -0.5, 100.0])
FLOATS = st.lists(FLOAT, max_size=24)
names = itertools.count()

CONFIGS = [
    mt.TableConfig("a", dim=2, optimizer=mt.optimizers.Adam(0.1)),
    mt.TableConfig(
        "b",
        segments=[
            mt.Segment(1, optimizer=mt.optimizers.SGD(0.1)),
            mt.Segment(2, precision=mt.precisions.BFloat16()),
        ],
        admission=mt.Admission(min_count=2, window_seconds=100),
        eviction=mt.Eviction(ttl_seconds=50, max_rows=20, max_future_seconds=0),
    ),
    mt.TableConfig(
        "c",
        dim=1,
        precision=mt.precisions.Int8(1.0),
        admission=mt.Admission(min_count=2, sketch_bytes=4096),
        tracks_changes=False,
    ),
]
TABLES = [config.name for config in CONFIGS]
DIMS = [config.dim for config in CONFIGS]
NUM_SEGMENTS = sum(len(config.segments) for config in CONFIGS)


def int64(values):
    return tf.constant(values, tf.int64, shape=np.shape(values))


def float32(values):
    return tf.constant(values, tf.float32, shape=np.shape(values))


@contextlib.contextmanager
def tables(shard=0, num_shards=1):
    """A table set with some rows and some ids that are counted."""
    handle = ops.table_set_handle(f"fuzz {next(names)}")
    for config in CONFIGS:
        ops.table_create(
            handle,
            attributes=config.op_attributes(shard, num_shards),
            generation=1,
        )
        ops.assign(
            handle,
            int64([1, 2, -1]),
            tf.zeros([3, config.dim]),
            int64(1000),
            table=config.name,
        )
    yield handle
    tf.raw_ops.DestroyResourceOp(resource=handle)


def contents(handle):
    """Everything that a request could change."""
    found = []
    for name in TABLES:
        ids, stamps, rows, _ = ops.export_chunk(
            handle, int64(0), table=name, max_rows=1000
        )
        order = np.argsort(ids)
        words = ops.export_filter(
            handle, table=name, first_group=0, num_groups=64
        )
        found.append(
            (
                ids.numpy()[order].tolist(),
                stamps.numpy()[order].tolist(),
                rows.numpy()[order].tobytes(),
                [word.numpy().tobytes() for word in words],
                int(ops.size(handle, table=name)),
                ops.read_clock(handle, table=name).numpy().tolist(),
            )
        )
    return found


def was_taken(handle, request):
    """Returns True if an op accepted a request; else nothing changed."""
    before = contents(handle)
    try:
        request()
    except (tf.errors.InvalidArgumentError, tf.errors.ResourceExhaustedError):
        assert contents(handle) == before
        return False
    contents(handle)
    return True


def all_rows(handle, name):
    return ops.export_chunk(handle, int64(0), table=name, max_rows=1000)[2]


def stat(handle, table, name):
    found, numbers = ops.stats(handle)
    row = [n.decode() for n in found.numpy()].index(table)
    fields = [field.name for field in dataclasses.fields(mt.metrics.TableStats)]
    return int(numbers[row, fields.index(name)])


@pytest.mark.slow
@SETTINGS
@hypothesis.given(packed=NUMBERS)
def test_lookup_of_any_numbers_changes_nothing(packed):
    with tables() as handle:
        before = contents(handle)
        try:
            rows = ops.lookup(handle, int64(packed), tables=TABLES, dims=DIMS)
        except tf.errors.InvalidArgumentError:
            pass
        else:
            sizes = packed[:3]
            assert rows.shape == [np.dot(sizes, DIMS)]
            assert np.isfinite(rows).all()
        assert contents(handle) == before


def valid_apply(data):
    """A request that fits, of ids that may stand twice."""
    sizes = [data.draw(st.integers(0, 4)) for _ in CONFIGS]
    total = sum(sizes)
    ids = [data.draw(NUMBER) for _ in range(total)]
    counts = [data.draw(st.integers(1, 3)) for _ in range(total)]
    gradients = [data.draw(FLOAT) for _ in range(int(np.dot(sizes, DIMS)))]
    return (
        [data.draw(st.integers(1, 5)), data.draw(st.integers(900, 1100))],
        sizes,
        ids,
        counts,
        [0.5] * NUM_SEGMENTS,
        gradients,
    )


@SETTINGS
@hypothesis.given(data=st.data())
def test_apply_drops_and_counts_bad_gradients_and_takes_the_rest(data):
    head, sizes, ids, counts, rates, gradients = valid_apply(data)
    with tables() as handle:
        assert was_taken(
            handle,
            lambda: ops.apply(
                handle,
                int64(head + sizes + ids + counts),
                float32(rates + gradients),
                tables=TABLES,
                dims=DIMS,
            ),
        )
        start = 0
        for config, size in zip(CONFIGS, sizes, strict=True):
            part = gradients[start : start + size * config.dim]
            start += size * config.dim
            part = np.array(part, np.float32).reshape([size, config.dim])
            is_bad = ~(np.abs(part) <= 2.0**48).all(axis=1)
            found = stat(handle, config.name, "num_bad_gradients")
            assert found == np.count_nonzero(is_bad)
            assert np.isfinite(all_rows(handle, config.name)).all()


@SETTINGS
@hypothesis.given(data=st.data())
def test_a_damaged_apply_is_refused_as_a_whole(data):
    head, sizes, ids, counts, rates, gradients = valid_apply(data)
    packed = head + sizes + ids + counts
    values = rates + gradients
    damage = data.draw(
        st.sampled_from(
            ["number", "shorter", "longer", "values", "more values", "rate"]
        )
    )
    is_wrong = True
    if damage == "number":
        place = data.draw(st.integers(0, len(packed) - 1))
        packed[place] = data.draw(NUMBER)
        is_wrong = False
    elif damage == "shorter":
        packed.pop()
    elif damage == "longer":
        packed.append(data.draw(NUMBER))
    elif damage == "values":
        values.pop()
    elif damage == "more values":
        values.append(0.0)
    else:
        rate = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
        values[data.draw(st.integers(0, NUM_SEGMENTS - 1))] = rate
    with tables() as handle:
        taken = was_taken(
            handle,
            lambda: ops.apply(
                handle,
                int64(packed),
                float32(values),
                tables=TABLES,
                dims=DIMS,
            ),
        )
        assert not (is_wrong and taken)
        for name in TABLES:
            assert np.isfinite(all_rows(handle, name)).all()


@SETTINGS
@hypothesis.given(packed=NUMBERS, values=FLOATS)
def test_apply_of_any_numbers(packed, values):
    with tables() as handle:
        was_taken(
            handle,
            lambda: ops.apply(
                handle,
                int64(packed),
                float32(values),
                tables=TABLES,
                dims=DIMS,
            ),
        )


@SETTINGS
@hypothesis.given(
    ids=NUMBERS,
    num_rows=st.integers(0, 8),
    width=st.integers(0, 4),
    time=NUMBER,
    table=st.sampled_from(CONFIGS),
    fits=st.booleans(),
)
def test_assign_of_any_numbers(ids, num_rows, width, time, table, fits):
    if fits:
        num_rows, width = len(ids), table.dim
    with tables() as handle:
        taken = was_taken(
            handle,
            lambda: ops.assign(
                handle,
                int64(ids),
                tf.ones([num_rows, width]),
                int64(time),
                table=table.name,
            ),
        )
        is_right = num_rows == len(ids) and width == table.dim
        assert taken == (is_right and 0 <= time < 1 << 32)


@SETTINGS
@hypothesis.given(
    keys=st.lists(st.tuples(NUMBER, NUMBER), max_size=8),
    columns=st.sampled_from([2, 2, 2, 1, 3]),
    more_rows=st.sampled_from([0, 0, 0, 1]),
    more_width=st.sampled_from([0, 0, 0, 1, -1]),
    table=st.sampled_from(CONFIGS),
    num_shards=st.integers(1, 3),
)
def test_import_of_any_numbers(
    keys, columns, more_rows, more_width, table, num_shards
):
    given_keys = np.zeros([len(keys), columns], np.int64)
    for number, key in enumerate(keys):
        given_keys[number, :2] = key[: min(2, columns)]
    shape = [len(keys) + more_rows, table.row_width + more_width]
    with tables(num_shards - 1, num_shards) as handle:
        taken = was_taken(
            handle,
            lambda: ops.import_rows(
                handle, int64(given_keys), tf.ones(shape), table=table.name
            ),
        )
        if columns != 2 or more_rows or more_width:
            assert not taken


@SETTINGS
@hypothesis.given(
    words=NUMBERS,
    group=st.sampled_from([0, 5, 63, 64, 1 << 32, (1 << 63) - 1]),
    repeat=st.sampled_from([1, 2, 8]),
    table=st.sampled_from(TABLES),
)
def test_import_filter_of_any_numbers(words, group, repeat, table):
    with tables() as handle:
        taken = was_taken(
            handle,
            lambda: ops.import_filter(
                handle, int64(words * repeat), table=table, group=group
            ),
        )
        assert not (group >= 64 and taken)
        assert not (table == "a" and words and taken)
        # Whatever was taken does not keep ids from being counted.
        apply_one(handle, 1000)
        apply_one(handle, 1000)
        assert all(ops.size(handle, table=name) >= 1 for name in TABLES)


def apply_one(handle, time):
    ops.apply(
        handle,
        int64([1, time, 1, 1, 1, 99, 99, 99, 2, 2, 2]),
        float32([0.5] * NUM_SEGMENTS + [1.0] * sum(DIMS)),
        tables=TABLES,
        dims=DIMS,
    )


@SETTINGS
@hypothesis.given(time=NUMBER, table=st.sampled_from(TABLES))
def test_sweep_at_any_time(time, table):
    with tables() as handle:
        taken = was_taken(
            handle, lambda: ops.sweep(handle, int64(time), table=table)
        )
        assert taken == (0 <= time < 1 << 32)


@SETTINGS
@hypothesis.given(clock=st.lists(NUMBER, max_size=3))
def test_set_clock_to_any_numbers(clock):
    with tables() as handle:
        taken = was_taken(
            handle, lambda: ops.set_clock(handle, int64(clock), table="b")
        )
        is_right = (
            len(clock) == 2 and clock[0] >= -1 and 0 <= clock[1] < 1 << 32
        )
        assert taken == is_right
        if taken:
            found = ops.read_clock(handle, table="b").numpy().tolist()
            # A step of -1 keeps the present one.
            assert found[1] == clock[1]
            assert found[0] == clock[0] or clock[0] == -1


@SETTINGS
@hypothesis.given(
    cursor=NUMBER,
    max_rows=st.sampled_from([1, 2, 1 << 40]),
    values=st.booleans(),
    table=st.sampled_from(TABLES),
)
def test_export_from_any_cursor_changes_nothing(
    cursor, max_rows, values, table
):
    with tables() as handle:
        before = contents(handle)
        with contextlib.suppress(tf.errors.InvalidArgumentError):
            ops.export_chunk(
                handle,
                int64(cursor),
                table=table,
                max_rows=max_rows,
                values=values,
            )
        assert contents(handle) == before


@SETTINGS
@hypothesis.given(
    first_group=st.sampled_from([0, 1, 63, 64, 1 << 32, (1 << 63) - 1]),
    num_groups=st.sampled_from([1, 2, 64, 65]),
    table=st.sampled_from(TABLES),
)
def test_groups_that_are_none_are_refused(first_group, num_groups, table):
    with tables() as handle:
        for op in (ops.export_groups, ops.export_filter):
            taken = was_taken(
                handle,
                lambda op=op: op(
                    handle,
                    table=table,
                    first_group=first_group,
                    num_groups=num_groups,
                ),
            )
            assert taken == (first_group + num_groups <= 64)


@SETTINGS
@hypothesis.given(
    ids=NUMBERS, shape=st.sampled_from(["vector", "matrix", "scalar"])
)
def test_remove_of_any_numbers(ids, shape):
    with tables() as handle:
        ids = {"vector": ids, "matrix": [ids], "scalar": 5}[shape]
        taken = was_taken(
            handle, lambda: ops.remove(handle, int64(ids), table="a")
        )
        assert taken == (shape == "vector")
        if taken:
            left = {1, 2, -1} - set(ids)
            assert ops.size(handle, table="a") == len(left)
