"""The golden vectors of docs/formats.md, against the library."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf.checkpoint import table_state
from monolith_tf.placement import sharding
from monolith_tf.placement.table_set import servers_of
from monolith_tf.serving.graph.packed_rows import PackedRows
from monolith_tf.stock_ops import hashing
from monolith_tf.stock_ops import initial_rows
from monolith_tf.stock_ops import quantize


def table_under(text, heading, *columns):
    """Rows of the first table with these columns after a heading."""
    section = text.split(f"\n## {heading}", 1)[1].split("\n## ", 1)[0]
    head = "| " + " | ".join(columns) + " |"
    assert head in section, f"{heading}: no table {head}"
    rows = []
    for line in section.split(head, 1)[1].strip().splitlines()[1:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip(" `") for cell in line.strip("|").split("|")])
    assert rows
    return rows


@pytest.fixture(scope="module")
def formats(repository_root):
    return (repository_root / "docs/formats.md").read_text()


def test_text_hashes(formats):
    for text, value in table_under(formats, "1. Hashes", "text", "fnv1a64"):
        assert hashing.fnv1a64(text) == int(value, 16)


def test_partitions_owners_and_groups(formats):
    rows = table_under(
        formats,
        "2. Partition, owner, group",
        *("id", "mix64", "partition", "group"),
        *("owner of 2", "owner of 3", "owner of 7"),
    )
    for id, mixed, partition, group, *owners in rows:
        id, partition = int(id), int(partition)
        assert hashing.mix64(id) == int(mixed, 16)
        assert sharding.partition(id) == partition
        assert sharding.group(id) == int(group)
        for num_shards, owner in zip((2, 3, 7), owners, strict=True):
            assert sharding.owner(partition, num_shards) == int(owner)


def float_of(pattern):
    return np.array(int(pattern, 16), np.uint32).view(np.float32)


@pytest.fixture(
    params=["stock TensorFlow ops", "op library"], ids=["stock", "ops"]
)
def rows_of(request):
    """Initial rows of a config, by each of the two implementations."""
    if request.param == "op library":
        return lambda config, ids: mt.Table(config).lookup(ids).numpy()
    return lambda config, ids: initial_rows.initial_rows(config, ids).numpy()


SCALING = mt.initializers.VarianceScaling


@pytest.mark.parametrize(
    ("column", "initializer"),
    [
        ("uniform", mt.initializers.RandomUniform(-0.05, 0.05)),
        ("normal", mt.initializers.RandomNormal(0.0, 0.05)),
        ("truncated_normal", mt.initializers.TruncatedNormal(0.0, 0.05)),
        *(
            (distribution, SCALING(distribution=distribution))
            for distribution in SCALING.DISTRIBUTIONS
        ),
    ],
    ids=str,
)
def test_initial_rows(formats, rows_of, column, initializer):
    config = mt.TableConfig("movie", 2, initializer=initializer, seed=7)
    columns = ["id", "j"]
    if isinstance(initializer, SCALING):
        columns += SCALING.DISTRIBUTIONS
    else:
        columns += ["id_key", "bits(j)", "uniform", "normal"]
        columns += ["truncated_normal"]
    for cells in table_under(formats, "3. Initial rows", *columns):
        ids = tf.constant([int(cells[0])], tf.int64)
        row = rows_of(config, ids)[0]
        expected = float_of(cells[columns.index(column)])
        assert row[int(cells[1])].tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        (("power of q * q", "P", "Q"), ("_MIDDLE_P", "_MIDDLE_Q")),
        (
            ("power", "P, of w", "Q, of w", "A, of s * s"),
            ("_WHOLE_P", "_WHOLE_Q", "_LOGARITHM_A"),
        ),
    ],
    ids=["truncated_normal", "normal"],
)
def test_coefficients_are_those_of_the_library(formats, columns, names):
    rows = table_under(formats, "3. Initial rows", *columns)
    for column, name in enumerate(names, start=1):
        numbers = tuple(float(row[column]) for row in rows if row[column])
        assert numbers == getattr(initial_rows, name)


def test_stored_weights(formats):
    precisions = mt.precisions
    columns = [
        precisions.BFloat16(),
        precisions.Float16(),
        precisions.Int8(4.0),
    ]
    rows = table_under(
        formats,
        "3. Initial rows",
        *("weight", "bfloat16", "float16", "int8(4)"),
    )
    id_key = hashing.mix64(42 + hashing.table_key(7, "movie"))
    for j, cells in enumerate(rows, start=3):
        gamma = (j + 1) * hashing.GOLDEN_GAMMA
        bits = hashing.mix64(hashing.mix64(id_key) + gamma)
        for cell, precision in zip(cells[1:], columns, strict=True):
            found = quantize.stored(
                precision,
                tf.constant([float_of(cells[0])]),
                tf.constant([bits], tf.uint64),
            )
            assert found.numpy()[0].tobytes() == float_of(cell).tobytes()


def test_packed_rows(formats):
    for layout, weights, words in table_under(
        formats, "6. Export", "layout", "weights", "words"
    ):
        packed = PackedRows(layout)
        rows = np.array([weights.split()], np.float32)
        found = packed.pack(rows).numpy()
        expected = [int(word, 16) for word in words.split()]
        assert found.view(np.uint32)[0].tolist() == expected
        assert packed.unpack(found).numpy().tobytes() == rows.tobytes()


def test_ids_of_strings(formats):
    heading = "4. Ids of strings, crossed ids, packed ids"
    for text, id in table_under(formats, heading, "string", "id"):
        assert mt.ids.from_strings([text]).numpy().tolist() == [int(id)]


def test_crossed_ids(formats):
    heading = "4. Ids of strings, crossed ids, packed ids"
    columns = ("salt", "combination", "crossed id")
    for salt, ids, expected in table_under(formats, heading, *columns):
        inputs = [tf.constant([int(id)], tf.int64) for id in ids.split(",")]
        crossed = mt.ids.cross(inputs, salt=int(salt))
        assert crossed.numpy().tolist() == [int(expected)]


def test_numbers_of_filters(formats):
    for min_count, window, sketch_bytes, numbers in table_under(
        formats,
        "5. Checkpoint keys",
        *("min_count", "window", "sketch_bytes", "numbers"),
    ):
        with mt.TableSet():
            table = mt.Table(
                mt.TableConfig(
                    "movie",
                    dim=2,
                    seed=7,
                    admission=mt.Admission(
                        min_count=int(min_count),
                        window_seconds=int(window),
                        sketch_bytes=int(sketch_bytes),
                    ),
                )
            )
        for time, count in ((1000, 5), (1060, 3)):
            table.apply_gradients(
                [42] * count, np.ones([count, 2], np.float32), event_time=time
            )
        (found,) = mt.ops.export_filter(
            servers_of(table.table_set)[0].handle,
            table="movie",
            first_group=41,
            num_groups=1,
        )
        expected = [int(number, 16) for number in numbers.split()]
        np.testing.assert_array_equal(
            found.numpy().view(np.uint64), np.array(expected, np.uint64)
        )


def test_layout_and_filter_of_a_checkpoint():
    table = mt.Table(
        mt.TableConfig(
            "movie",
            segments=[
                mt.Segment(1, optimizer=mt.optimizers.SGD()),
                mt.Segment(2, optimizer=mt.optimizers.Adam()),
            ],
            admission=mt.Admission(min_count=300, sketch_bytes=4096),
        )
    )
    parts = table_state.serialize(table)
    assert parts["layout"].numpy().decode() == (
        "format=2 segment=(dim=1 sgd none) "
        "segment=(dim=2 adam momentum,velocity) groups=64 name=movie"
    )
    assert parts["filter"].numpy().decode() == (
        "sketch window=0 bytes=4096 cell=2"
    )
    assert len(parts) == 5 + 3 * 64


def test_floats_on_a_narrow_wire(formats):
    for text, bfloat16, float16, exact in table_under(
        formats,
        "10. Floats on a narrow wire",
        *("float", "bfloat16", "float16", "as an exact float"),
    ):
        number = tf.constant([float(text)])
        for wire_format, word in (("bfloat16", bfloat16), ("float16", float16)):
            (words,) = mt.ops.narrow(number, wire_format=wire_format).numpy()
            assert words == int(word, 16), (text, wire_format)
        words = mt.ops.narrow(number, wire_format="float16", num_exact=1)
        assert words.numpy().tolist() == [int(w, 16) for w in exact.split()]
