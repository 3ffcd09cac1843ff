"""Saved tables are restored on any number of shards, as a whole or not."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf.checkpoint import table_state
from monolith_tf.checkpoint.table_rows import export_rows

EDGE_IDS = [0, -1, -(2**63), 2**63 - 1]
OPTIMIZERS = {
    "sgd": mt.optimizers.SGD(0.1),
    "adagrad": mt.optimizers.Adagrad(0.1),
    "adam": mt.optimizers.Adam(0.1),
}


def make_table(num_shards=1, kind="adam", dim=3):
    with mt.TableSet(num_shards=num_shards):
        return mt.Table(
            mt.TableConfig("movie", dim=dim, optimizer=OPTIMIZERS[kind], seed=1)
        )


def trained_table(num_shards=1, kind="adam", dim=3, steps=4):
    table = make_table(num_shards, kind, dim)
    random = np.random.default_rng(3)
    for number in range(steps):
        ids = np.r_[EDGE_IDS, random.integers(-(2**63), 2**63 - 1, 200)]
        table.apply_gradients(
            ids,
            random.normal(size=(204, dim)).astype(np.float32),
            event_time=tf.constant(2**32 - 10 + number, tf.int64),
        )
    return table


def contents(table):
    """Id to (seconds, weights and slots), for comparisons with ==."""
    return {
        int(one): (int(time), row.tobytes())
        for ids, times, rows in export_rows(table, batch_size=100)
        for one, time, row in zip(ids, times, rows, strict=True)
    }


def save(table, directory):
    return tf.train.Checkpoint(table=table).save(str(directory / "c"))


def restore(table, path):
    return tf.train.Checkpoint(table=table).restore(path)


@pytest.mark.parametrize("kind", list(OPTIMIZERS))
@pytest.mark.parametrize("saved_by", [1, 2, 3])
def test_rows_slots_and_times_restore_on_any_number_of_shards(
    tmp_path, saved_by, kind
):
    table = trained_table(saved_by, kind)
    expected = contents(table)
    assert len(expected) == 804
    path = save(table, tmp_path)
    for num_shards in (1, 2, 3):
        other = make_table(num_shards, kind)
        restore(other, path).assert_existing_objects_matched()
        assert contents(other) == expected
        np.testing.assert_array_equal(
            other.lookup(EDGE_IDS), table.lookup(EDGE_IDS)
        )


def test_keys_do_not_depend_on_the_number_of_shards(tmp_path):
    listings = []
    for num_shards in (1, 2, 3):
        directory = tmp_path / str(num_shards)
        directory.mkdir()
        path = save(trained_table(num_shards), directory)
        listings.append(tf.train.list_variables(path))
    assert listings[0] == listings[1] == listings[2]
    assert len(listings[0]) > 128


def test_an_empty_table_restores_as_an_empty_table(tmp_path):
    path = save(make_table(2), tmp_path)
    table = trained_table(3)
    restore(table, path)
    assert table.size() == 0


@pytest.mark.parametrize("num_shards", [1, 3])
def test_restoring_replaces_rows_that_are_there(tmp_path, num_shards):
    table = trained_table(2)
    expected = contents(table)
    path = save(table, tmp_path)
    other = make_table(num_shards)
    other.apply_gradients([0, 5, 6], np.ones([3, 3], np.float32))
    generations = other.table_set.generations()
    restore(other, path)
    assert contents(other) == expected
    for before, after in zip(
        generations, other.table_set.generations(), strict=True
    ):
        assert before != after


def test_training_goes_on_as_if_nothing_had_happened(tmp_path):
    table = trained_table(2)
    other = make_table(3)
    restore(other, save(table, tmp_path))
    gradients = np.ones([4, 3], np.float32)
    for each in (table, other):
        # Adam's bias correction needs the count of steps, too.
        each.apply_gradients(
            EDGE_IDS, gradients, event_time=tf.constant(7, tf.int64)
        )
    assert contents(other) == contents(table)


def test_a_restore_waits_for_a_table_that_is_made_later(tmp_path):
    table = trained_table()
    path = save(table, tmp_path)
    checkpoint = tf.train.Checkpoint()
    checkpoint.restore(path)
    other = make_table(2)
    checkpoint.table = other
    assert contents(other) == contents(table)


def parts_of(table):
    """The tensors of a checkpoint, as restoring gets them."""
    return table_state.serialize(table)


@pytest.mark.parametrize("part", ["keys-07", "rows-63", "counts", "layout"])
def test_a_checkpoint_that_lacks_a_part_changes_nothing(part):
    parts = parts_of(trained_table(2))
    del parts[part]
    table = trained_table(3, steps=1)
    before, generations = contents(table), table.table_set.generations()
    with pytest.raises(
        mt.errors.CheckpointError, match=f"lacks 1 of .* parts.*{part}"
    ):
        table._restore_from_tensors(parts)
    assert contents(table) == before
    assert table.table_set.generations() == generations


@pytest.mark.parametrize("kind", ["keys", "rows"])
def test_a_group_with_fewer_rows_than_counted_changes_nothing(kind):
    parts = parts_of(trained_table(2))
    parts[f"{kind}-20"] = parts[f"{kind}-20"][:-1]
    table = trained_table(3, steps=1)
    before = contents(table)
    with pytest.raises(
        mt.errors.CheckpointError,
        match="do not have the rows that were counted",
    ):
        table._restore_from_tensors(parts)
    assert contents(table) == before


@pytest.mark.parametrize(
    "damage", ["removed", "cut short", "no index", "changed"]
)
def test_a_damaged_file_changes_nothing(tmp_path, damage):
    path = save(trained_table(2), tmp_path)
    data = pathlib.Path(f"{path}.data-00000-of-00001")
    if damage == "removed":
        data.unlink()
    elif damage == "cut short":
        data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    elif damage == "changed":
        content = bytearray(data.read_bytes())
        content[len(content) // 2] ^= 1
        data.write_bytes(content)
    else:
        pathlib.Path(f"{path}.index").unlink()
    table = trained_table(3, steps=1)
    before = contents(table)
    # TensorFlow's own errors; one of them is translated to Python's.
    with pytest.raises((tf.errors.OpError, IndexError)):
        restore(table, path)
    assert contents(table) == before


def test_a_checkpoint_without_the_table_is_found_out(tmp_path):
    path = tf.train.Checkpoint(other=tf.Variable(1.0)).save(str(tmp_path / "c"))
    table = trained_table(steps=1)
    before = contents(table)
    with pytest.raises(AssertionError):
        restore(table, path).assert_existing_objects_matched()
    assert contents(table) == before


@pytest.mark.parametrize(
    ("kind", "dim", "message"),
    [
        (
            "adam",
            4,
            "do not fit table 'movie', which has 'format=2 segment=.dim=4",
        ),
        (
            "adagrad",
            3,
            "dim=3 adagrad accumulator.*The checkpoint has .*dim=3 adam",
        ),
        ("sgd", 3, r"segment=\(dim=3 sgd none\)"),
    ],
)
def test_another_dim_or_optimizer_is_refused(tmp_path, kind, dim, message):
    path = save(trained_table(2), tmp_path)
    table = trained_table(1, kind, dim, steps=1)
    before = contents(table)
    with pytest.raises(mt.errors.CheckpointError, match=message):
        restore(table, path)
    assert contents(table) == before


def make_model(num_shards=1, dim=2):
    with mt.TableSet(num_shards=num_shards):
        inputs = tf_keras.Input([2], dtype="int64")
        vectors = mt.layers.DynamicEmbedding(
            mt.TableConfig("movie", dim=dim, optimizer=mt.optimizers.Adam(0.1)),
            "sum",
        )(inputs)
        outputs = tf_keras.layers.Dense(1, kernel_initializer="ones")(vectors)
        model = tf_keras.Model(inputs, outputs)
    model.compile(mt.optimizers.with_tables("adam"), "mse")
    return model


def fit(model, epochs=1, **kwargs):
    ids = np.arange(16).reshape([8, 2]) % 11
    labels = np.arange(8) / np.float32(8)
    model.fit(
        ids,
        labels,
        batch_size=4,
        shuffle=False,
        epochs=epochs,
        verbose=0,
        **kwargs,
    )


def state(model):
    """Rows with slots, dense weights and what the optimizer keeps."""
    rows = {
        one: row for one, (_, row) in contents(model.layers[1].table).items()
    }
    dense = [w.numpy().tobytes() for w in model.layers[2].weights]
    kept = [v.numpy().tobytes() for v in model.optimizer.variables]
    return rows, dense, kept


@pytest.mark.parametrize("saved_by", [1, 2, 3])
def test_weights_of_a_model_load_on_any_number_of_shards(tmp_path, saved_by):
    model = make_model(saved_by)
    fit(model, 2)
    model.save_weights(tmp_path / "w")
    expected = contents(model.layers[1].table)
    for num_shards in (1, 2, 3):
        other = make_model(num_shards)
        other.load_weights(tmp_path / "w").assert_existing_objects_matched()
        assert contents(other.layers[1].table) == expected
        assert state(other)[1] == state(model)[1]


def test_weights_of_a_model_with_another_dim_are_refused(tmp_path):
    model = make_model(dim=3)
    fit(model)
    model.save_weights(tmp_path / "w")
    other = make_model(dim=2)
    fit(other)
    before = contents(other.layers[1].table)
    with pytest.raises(
        (mt.errors.CheckpointError, ValueError), match="dim=2|shape"
    ):
        other.load_weights(tmp_path / "w")
    assert contents(other.layers[1].table) == before


class StopAfter(tf_keras.callbacks.Callback):
    """Ends the program, as far as `fit` can tell."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


def test_fit_goes_on_where_backup_and_restore_left_it(tmp_path):
    def backup():
        return tf_keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))

    expected = make_model(2)
    fit(expected, 4)
    model = make_model(2)
    with pytest.raises(KeyboardInterrupt):
        fit(model, 4, callbacks=[backup(), StopAfter(2)])
    # Another process with another number of servers.
    again = make_model(3)
    fit(again, 4, callbacks=[backup()])
    assert state(again) == state(expected)
    assert again.optimizer.iterations.numpy() == 8
