"""The save of `mt.callbacks.Checkpoints` is traced once."""

import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf.checkpoint.traced_checkpoint import TracedCheckpoint


@pytest.fixture
def table():
    with mt.TableSet(num_shards=2):
        return mt.Table(mt.TableConfig("movie", dim=1))


def test_every_write_has_the_values_of_its_time(table, tmp_path):
    weight = tf.Variable(0.0)
    checkpoint = TracedCheckpoint(table=table, weight=weight)
    paths = []
    for value in (1.0, 2.0, 3.0):
        table.assign([int(value), 7], [[value], [value]])
        weight.assign(value)
        paths.append(checkpoint.write(tmp_path / "a" / "b" / str(value)))
    for value, path in zip((1.0, 2.0, 3.0), paths, strict=True):
        assert isinstance(path, str)
        # An ordinary checkpoint reads it.
        tf.train.Checkpoint(table=table, weight=weight).read(
            path
        ).assert_consumed()
        assert float(table.lookup([7])[0, 0]) == float(weight) == value
        assert table.size() == 1 + int(value)


def test_one_function_writes_as_long_as_the_same_objects_are_saved(
    table, tmp_path
):
    checkpoint = TracedCheckpoint(table=table)
    checkpoint.write(tmp_path / "first")
    function = checkpoint._kept_write[1]
    checkpoint.write(tmp_path / "second")
    assert checkpoint._kept_write[1] is function
    assert function.experimental_get_tracing_count() == 1
    checkpoint.added = tf.Variable(5.0)
    path = checkpoint.write(tmp_path / "third")
    assert checkpoint._kept_write[1] is not function
    checkpoint.added.assign(0.0)
    checkpoint.read(path).assert_consumed()
    assert float(checkpoint.added) == 5.0


def test_a_manager_numbers_keeps_and_sweeps(table, tmp_path):
    checkpoint = TracedCheckpoint(table=table)
    manager = tf.train.CheckpointManager(checkpoint, tmp_path, max_to_keep=2)
    paths = [manager.save(number) for number in (3, 5, 8)]
    assert manager.checkpoints == paths[1:]
    assert tf.train.latest_checkpoint(tmp_path) == paths[2]
    assert not list(tmp_path.glob("ckpt-3*"))


def test_what_is_pythons_state_is_written_as_it_is(tmp_path):
    class Number(tf.train.experimental.PythonState):
        value = "1"

        def serialize(self):
            return self.value

        def deserialize(self, text):
            self.value = text.decode()

    number = Number()
    checkpoint = TracedCheckpoint(number=number)
    for value in ("2", "3"):
        number.value = value
        path = checkpoint.write(tmp_path / value)
    number.value = "4"
    checkpoint.read(path).assert_consumed()
    assert number.value == "3"
