"""Admission counts are restored, on any number of shards."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf.checkpoint import table_state
from monolith_tf.placement.registry import tables_of

ADMISSIONS = {
    "exact": mt.Admission(min_count=3),
    "exact in a window": mt.Admission(min_count=3, window_seconds=1000),
    "sketch": mt.Admission(min_count=3, sketch_bytes=1 << 16),
    "sketch in a window": mt.Admission(
        min_count=3, sketch_bytes=1 << 16, window_seconds=1000
    ),
    "wide sketch": mt.Admission(min_count=300, sketch_bytes=1 << 16),
}
# Occurrences so far: ids 0 to 99 none, from 100 on one, from 200 on two.
IDS = np.arange(300)


def make_table(admission, num_shards=1, **arguments):
    with mt.TableSet(num_shards=num_shards):
        return mt.Table(
            mt.TableConfig(
                "movie",
                dim=1,
                optimizer=mt.optimizers.SGD(1.0),
                admission=admission,
                **arguments,
            )
        )


def occur(table, ids, count=1, event_time=10_000):
    ids = np.repeat(ids, count)
    table.apply_gradients(
        ids, np.ones([len(ids), 1], np.float32), event_time=event_time
    )


def counting_table(admission, num_shards=1):
    table = make_table(admission, num_shards)
    occur(table, IDS[100:], admission.min_count - 2)
    occur(table, IDS[200:])
    assert table.size() == 0
    return table


def save(table, directory):
    return tf.train.Checkpoint(table=table).save(str(directory / "c"))


def restore(table, path):
    tf.train.Checkpoint(table=table).restore(path)


def admitted(table):
    return sorted(int(id) for ids, _ in table.export() for id in ids)


@pytest.mark.parametrize("kind", list(ADMISSIONS))
@pytest.mark.parametrize("saved_by", [1, 2, 3])
def test_counting_goes_on_on_any_number_of_shards(tmp_path, saved_by, kind):
    admission = ADMISSIONS[kind]
    path = save(counting_table(admission, saved_by), tmp_path)
    for num_shards in (3, 1, 2):
        other = make_table(admission, num_shards)
        restore(other, path)
        assert other.size() == 0
        occur(other, IDS)
        assert admitted(other) == list(range(200, 300))
        occur(other, IDS)
        assert admitted(other) == list(range(100, 300))


@pytest.mark.parametrize("kind", list(ADMISSIONS))
def test_a_checkpoint_of_a_restored_table_is_the_same(tmp_path, kind):
    admission = ADMISSIONS[kind]
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    path = save(counting_table(admission, 2), tmp_path / "a")
    other = make_table(admission, 2)
    restore(other, path)
    again = save(other, tmp_path / "b")
    for name, _ in tf.train.list_variables(path):
        if "filter-" in name or "clock" in name:
            np.testing.assert_array_equal(
                tf.train.load_variable(path, name),
                tf.train.load_variable(again, name),
            )


def test_a_window_goes_on_with_the_time_that_was_saved(tmp_path):
    admission = ADMISSIONS["exact in a window"]
    path = save(counting_table(admission, 2), tmp_path)
    other = make_table(admission, 3)
    restore(other, path)
    # What occurred before is out of the window.
    occur(other, IDS, event_time=11_500)
    assert other.size() == 0
    # Ids that are seen for the first time after the restore count in the
    # present, not in a past that comes late.
    occur(other, [1000, 1000], event_time=0)
    occur(other, [1000], event_time=11_500)
    assert admitted(other) == [1000]


def test_restoring_forgets_what_the_table_counted(tmp_path):
    admission = ADMISSIONS["exact"]
    path = save(make_table(admission, 2), tmp_path)
    table = counting_table(admission, 3)
    restore(table, path)
    occur(table, IDS, 2)
    assert table.size() == 0


def test_admitted_and_counted_ids_are_restored_together(tmp_path):
    admission = ADMISSIONS["exact"]
    table = counting_table(admission, 3)
    occur(table, IDS[150:])
    expected = admitted(table)
    path = save(table, tmp_path)
    other = make_table(admission, 2)
    restore(other, path)
    assert admitted(other) == expected == list(range(200, 300))
    assert other.stats().num_counted == table.stats().num_counted == 100


def test_a_sketch_that_was_split_over_servers_admits_never_late(tmp_path):
    """Small enough for many ids to share cells."""
    admission = mt.Admission(min_count=3, sketch_bytes=4096)
    ids = np.random.default_rng(1).integers(-(2**63), 2**63 - 1, 3000)
    table = make_table(admission, 3)
    for part in np.split(ids, 10):
        occur(table, part, 2)
    early = set(admitted(table))
    path = save(table, tmp_path)
    for num_shards in (1, 2, 3, 7):
        other = make_table(admission, num_shards)
        restore(other, path)
        occur(other, ids)
        assert set(admitted(other)) == set(ids.tolist()) | early


@pytest.mark.parametrize(
    ("saved", "table"),
    [
        (ADMISSIONS["exact"], ADMISSIONS["sketch"]),
        (ADMISSIONS["sketch"], ADMISSIONS["exact"]),
        (ADMISSIONS["exact"], ADMISSIONS["exact in a window"]),
        (
            mt.Admission(min_count=2, sketch_bytes=4096),
            mt.Admission(min_count=2, sketch_bytes=8192),
        ),
        (
            mt.Admission(min_count=2, sketch_bytes=4096),
            mt.Admission(min_count=256, sketch_bytes=4096),
        ),
    ],
    ids=["sketch", "exact", "window", "bytes", "cells"],
)
def test_counts_of_another_admission_are_refused(tmp_path, saved, table):
    path = save(make_table(saved), tmp_path)
    other = make_table(table)
    other.assign([7], [[1.0]])
    with pytest.raises(
        mt.errors.CheckpointError, match="do not fit the admission.*has '"
    ):
        restore(other, path)
    assert admitted(other) == [7]


@pytest.mark.parametrize(
    "admission", [mt.Admission(), mt.Admission(probability=1.0)]
)
def test_a_table_that_does_not_count_takes_any_checkpoint(
    tmp_path, admission, caplog
):
    table = counting_table(ADMISSIONS["exact"])
    table.assign([7], [[1.0]])
    other = make_table(admission)
    saved = save(other, tmp_path / "other")
    restore(other, saved)
    assert not caplog.records
    restore(other, save(table, tmp_path / "counted"))
    # What is dropped is told.
    assert "counts of ids without rows are dropped" in caplog.text
    assert admitted(other) == [7]
    occur(other, [8])
    assert admitted(other) == [7, 8]


def test_a_table_may_begin_to_count(tmp_path):
    table = make_table(mt.Admission())
    occur(table, [7])
    other = make_table(ADMISSIONS["exact"])
    restore(other, save(table, tmp_path))
    occur(other, [8])
    assert admitted(other) == [7]


def test_the_bar_may_be_raised(tmp_path):
    path = save(counting_table(ADMISSIONS["exact"]), tmp_path)
    other = make_table(mt.Admission(min_count=4))
    restore(other, path)
    occur(other, IDS)
    assert other.size() == 0
    occur(other, IDS)
    assert admitted(other) == list(range(200, 300))


@pytest.mark.parametrize("part", ["filter-07", "filter", "clock"])
def test_a_checkpoint_without_counts_changes_nothing(part):
    parts = table_state.serialize(counting_table(ADMISSIONS["exact"]))
    del parts[part]
    other = make_table(ADMISSIONS["exact"])
    other.assign([7], [[1.0]])
    with pytest.raises(mt.errors.CheckpointError, match=f"lacks 1.*{part}"):
        other._restore_from_tensors(parts)
    assert admitted(other) == [7]


def make_model(admission):
    inputs = tf_keras.Input([], dtype="int64")
    with mt.TableSet(num_shards=2):
        rows = mt.layers.DynamicEmbedding(
            mt.TableConfig("movie", dim=1, admission=admission)
        )(inputs)
    model = tf_keras.Model(inputs, rows)
    model.compile(mt.optimizers.with_tables("sgd"), "mse")
    return model


def fit(model, ids):
    ids = np.array(ids)
    model.fit(ids, np.ones([len(ids), 1]), batch_size=len(ids), verbose=0)


@pytest.mark.parametrize("kind", ["exact", "sketch"])
def test_a_keras_file_keeps_what_was_counted(tmp_path, kind):
    model = make_model(ADMISSIONS[kind])
    fit(model, [7, 7, 8, 9, 9, 9])
    model.save(tmp_path / "model.keras")
    loaded = tf_keras.models.load_model(tmp_path / "model.keras")
    fit(loaded, [7, 8])
    (table,) = tables_of(loaded)
    assert admitted(table) == [7, 9]
