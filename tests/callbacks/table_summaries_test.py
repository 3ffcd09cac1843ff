"""Table statistics, as TensorBoard reads them."""

import pathlib

import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt


def scalars(directory):
    """{name: [(step, value), ...]} of the event files of a folder."""
    found = {}
    for path in pathlib.Path(directory).glob("events.*"):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                number = float(tf.make_ndarray(value.tensor))
                found.setdefault(value.tag, []).append((event.step, number))
    return found


def test_rows_and_updates_are_written_at_each_epoch(
    make_row_model, fit, tmp_path
):
    model, table = make_row_model()
    fit(model, 2, mt.callbacks.TableSummaries(tmp_path))
    found = scalars(tmp_path)
    assert found["table/movie/rows"] == [(0, 1.0), (1, 1.0)]
    assert [value for _, value in found["table/movie/memory_bytes"]][1] > 0
    for name in ("evicted", "rejected", "bad_gradients"):
        assert found[f"table/movie/{name}"] == [(0, 0.0), (1, 0.0)]
    assert found["updates/partial"] == [(0, 0.0), (1, 0.0)]
    assert found["updates/repeated"] == [(0, 0.0), (1, 0.0)]
    assert table.size() == 1


@pytest.mark.slow
def test_a_model_without_tables_writes_nothing(fit, tmp_path):
    model = tf_keras.Sequential(
        [tf_keras.Input([]), tf_keras.layers.Reshape([1])]
    )
    model.add(tf_keras.layers.Dense(1))
    model.compile("sgd", "mse")
    fit(model, 1, mt.callbacks.TableSummaries(tmp_path))
    assert scalars(tmp_path) == {}
