"""Which ids get a row: counted exactly, by a sketch, by chance, in a window."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt


def make(admission, name="table", **arguments):
    arguments.setdefault("optimizer", mt.optimizers.SGD(1.0))
    arguments.setdefault("initializer", mt.initializers.Constant(1.0))
    return mt.Table(
        mt.TableConfig(name, dim=1, admission=admission, **arguments)
    )


def occur(table, *ids, event_time=1000):
    """One update with a gradient of 1 for each occurrence."""
    ids = np.array(ids, np.int64)
    table.apply_gradients(
        ids, np.ones([len(ids), 1], np.float32), event_time=event_time
    )


def test_an_id_gets_its_row_when_it_occurred_often_enough(shards):
    table = make(mt.Admission(min_count=3))
    occur(table, 7)
    occur(table, 7, 8)
    assert table.size() == 0
    assert table.stats().num_counted == 2
    occur(table, 7)
    # The update that brings it over the bar steps the row, those before not.
    np.testing.assert_array_equal(table.lookup([7, 8, 9]), [[0], [1], [1]])
    assert table.size() == 1
    stats = table.stats()
    assert (stats.num_counted, stats.num_rejected) == (1, 3)


def test_occurrences_of_one_batch_count_each(shards):
    table = make(mt.Admission(min_count=3))
    occur(table, 7, 7, 8, 7, 8)
    np.testing.assert_array_equal(table.lookup([7, 8]), [[-2], [1]])


def test_a_lookup_counts_nothing(shards):
    table = make(mt.Admission(min_count=2))
    for _ in range(5):
        table.lookup([7])
    occur(table, 7)
    assert table.size() == 0


@pytest.mark.parametrize(
    ("unadmitted", "value"), [("initial", 1.0), ("zeros", 0.0)]
)
def test_what_an_id_without_a_row_reads_is_configured(
    shards, unadmitted, value
):
    table = make(mt.Admission(min_count=2, unadmitted=unadmitted))
    occur(table, 7)
    np.testing.assert_array_equal(table.lookup([7, 8]), [[value], [value]])
    occur(table, 7)
    # A row starts from the initial one, whatever was read before.
    np.testing.assert_array_equal(table.lookup([7]), [[0.0]])
    table.remove([7])
    np.testing.assert_array_equal(table.lookup([7]), [[value]])


def test_unadmitted_goes_without_counting_too(shards):
    table = make(mt.Admission(unadmitted="zeros"))
    np.testing.assert_array_equal(table.lookup([7]), [[0.0]])
    rows, exists = table.lookup_with_exists([7])
    np.testing.assert_array_equal(rows, [[0.0]])
    assert not exists.numpy()[0]


def test_an_assignment_asks_no_admission(shards):
    table = make(mt.Admission(min_count=100))
    table.assign([7], [[5.0]])
    assert table.size() == 1
    occur(table, 7)
    np.testing.assert_array_equal(table.lookup([7]), [[4.0]])


def test_a_removed_id_is_counted_anew(shards):
    table = make(mt.Admission(min_count=2))
    occur(table, 7, 7)
    table.remove([7])
    occur(table, 7)
    assert table.size() == 0
    occur(table, 7)
    assert table.size() == 1


def test_clear_forgets_what_was_counted(shards):
    for kind in ({}, {"sketch_bytes": 4096}):
        table = make(
            mt.Admission(min_count=2, **kind), name=f"clear{len(kind)}"
        )
        occur(table, 7)
        table.clear()
        occur(table, 7)
        assert table.size() == 0


def test_only_occurrences_within_the_window_count(shards):
    table = make(mt.Admission(min_count=2, window_seconds=100))
    occur(table, 7, event_time=1000)
    # Two buckets of 50 seconds on, the first occurrence is forgotten.
    occur(table, 7, event_time=1100)
    assert table.size() == 0
    occur(table, 7, event_time=1149)
    assert table.size() == 1


def test_counters_that_count_nothing_any_more_are_swept(shards):
    table = make(mt.Admission(min_count=2, window_seconds=100))
    occur(table, *range(50), event_time=1000)
    assert table.stats().num_counted == 50
    assert table.sweep(event_time=5000) == 0
    assert table.stats().num_counted == 0


def test_time_passes_for_servers_without_ids_in_the_batch(shards):
    table = make(mt.Admission(min_count=2, window_seconds=100))
    occur(table, *range(20), event_time=1000)
    occur(table, 100, event_time=5000)
    # Late occurrences count now, when those before are long forgotten.
    occur(table, *range(20), event_time=1000)
    assert table.size() == 0


def test_a_sketch_admits_never_late_and_seldom_early():
    table = make(mt.Admission(min_count=2, sketch_bytes=16 * 20_000))
    occur(table, *range(20_000))
    # About 1 in 170 for the last ids; less for those before.
    assert table.size() <= 20_000 / 100
    occur(table, *range(20_000))
    assert table.size() == 20_000


def test_more_shards_make_a_sketch_no_worse():
    admitted = []
    for num_shards in (1, 2, 3):
        with mt.TableSet(num_shards=num_shards):
            table = make(mt.Admission(min_count=2, sketch_bytes=4096))
        for start in range(0, 2000, 100):
            occur(table, *range(start, start + 100))
        admitted.append(sorted(np.concatenate([i for i, _ in table.export()])))
    assert 0 < len(admitted[0]) < 2000
    assert admitted[0] == admitted[1]
    # Two servers that share a group have a sketch each.
    assert set(admitted[2]) <= set(admitted[0])


def test_a_sketch_of_wide_counts_admits_at_its_count(shards):
    table = make(mt.Admission(min_count=1000, sketch_bytes=1 << 16))
    occur(table, *[7] * 999)
    assert table.size() == 0
    occur(table, 7)
    assert table.size() == 1


def test_probability_admits_about_its_share_the_same_in_every_run():
    admitted = []
    for num_shards in (1, 3):
        with mt.TableSet(num_shards=num_shards):
            table = make(mt.Admission(probability=0.25))
        occur(table, *range(10_000))
        admitted.append(sorted(np.concatenate([i for i, _ in table.export()])))
    assert admitted[0] == admitted[1]
    assert 2300 <= len(admitted[0]) <= 2700
    # Each occurrence has its chance.
    for _ in range(40):
        occur(table, *range(10_000))
    assert table.size() >= 9_990


def test_certain_probability_admits_all(shards):
    table = make(mt.Admission(probability=1.0))
    occur(table, *range(100))
    assert table.size() == 100


def test_admission_of_a_model_counts_what_fit_sees():
    config = mt.TableConfig(
        "movie",
        dim=1,
        optimizer=mt.optimizers.SGD(1.0),
        initializer=mt.initializers.Constant(1.0),
        admission=mt.Admission(min_count=2),
    )
    table = mt.Table(config)
    optimizer = mt.optimizers.with_tables("sgd")
    for _ in range(2):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(table.lookup([7, 7, 8]))
        gradients = tape.gradient(loss, table.trainable_variables)
        optimizer.apply_gradients(
            zip(gradients, table.trainable_variables, strict=True)
        )
    # 7 stands twice in the first batch, 8 once in each.
    np.testing.assert_array_equal(table.lookup([7, 8]), [[-3], [0]])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"min_count": 0}, ValueError, "min_count from 1 to 65535.*=0"),
        ({"min_count": 65536}, ValueError, "min_count from 1 to 65535"),
        ({"min_count": 2.0}, TypeError, r"integer for min_count.*2\.0"),
        ({"min_count": True}, TypeError, "integer for min_count.*bool"),
        ({"window_seconds": -1}, ValueError, "window_seconds from 0"),
        ({"window_seconds": 1 << 32}, ValueError, "window_seconds from 0"),
        ({"window_seconds": "1d"}, TypeError, "integer for window_seconds"),
        ({"sketch_bytes": 4095}, ValueError, "sketch_bytes from 4096"),
        ({"sketch_bytes": (1 << 40) + 1}, ValueError, "sketch_bytes from 4096"),
        ({"sketch_bytes": -1}, ValueError, "sketch_bytes from 4096"),
        ({"sketch_bytes": None}, TypeError, "integer for sketch_bytes"),
        ({"unadmitted": "nan"}, ValueError, "'initial' or 'zeros'.*'nan'"),
        ({"probability": 0.0}, ValueError, "0 < probability <= 1"),
        ({"probability": 1.5}, ValueError, r"0 < probability <= 1.*1\.5"),
        ({"probability": float("nan")}, ValueError, "0 < probability <= 1"),
        ({"probability": "half"}, TypeError, "number for probability"),
        ({"probability": True}, TypeError, "number for probability"),
        (
            {"probability": 0.5, "min_count": 2},
            ValueError,
            "by probability counts nothing",
        ),
        (
            {"probability": 0.5, "window_seconds": 2},
            ValueError,
            "by probability counts nothing",
        ),
        (
            {"probability": 0.5, "sketch_bytes": 4096},
            ValueError,
            "by probability counts nothing",
        ),
    ],
)
def test_a_bad_admission_says_what_is_wrong(arguments, error, message):
    with pytest.raises(error, match=message):
        mt.Admission(**arguments)


def test_admission_of_another_type_is_refused():
    with pytest.raises(TypeError, match="admission of table 'x' must be"):
        mt.TableConfig("x", dim=1, admission=3)


def test_admissions_that_are_one_and_the_same_are_made_alike():
    assert mt.Admission(min_count=1, window_seconds=60).kind == "all"
    assert mt.Admission(min_count=np.int64(2)) == mt.Admission(min_count=2)
    table = make(mt.Admission(min_count=1, window_seconds=60))
    occur(table, 7)
    assert table.size() == 1


def test_admission_round_trips_in_a_config():
    for admission in (
        mt.Admission(min_count=3, window_seconds=7, sketch_bytes=4096),
        mt.Admission(probability=0.5, unadmitted="zeros"),
    ):
        config = mt.TableConfig("x", dim=1, admission=admission)
        assert mt.TableConfig.from_config(config.get_config()).same_as(config)
