"""Callbacks of Keras 3 and our own in the `fit` of a model of Keras 3."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt


@keras.saving.register_keras_serializable(package="monolith_tf_tests")
def sum_of_outputs(labels, outputs):
    del labels
    return tf.reduce_sum(outputs, -1)


@pytest.fixture
def make_row_model():
    """Makes a model that is one row; each step of id 7 takes off the rate."""

    def make(rate=1.0, optimizer="sgd"):
        with mt.TableSet(num_shards=2):
            layer = mt.keras3.DynamicEmbedding(
                mt.TableConfig(
                    "movie",
                    dim=1,
                    optimizer=mt.optimizers.SGD(rate),
                    initializer=mt.initializers.Zeros(),
                )
            )
        model = keras.Sequential([keras.Input([], dtype="int64"), layer])
        model.compile(
            mt.keras3.with_tables(optimizer),
            sum_of_outputs,
        )
        return model, layer.table

    return make


def fit(model, epochs, *callbacks, **options):
    """Fits such a model, two steps an epoch."""
    return model.fit(
        np.full(2, 7),
        np.zeros(2),
        batch_size=1,
        epochs=epochs,
        callbacks=list(callbacks),
        verbose=0,
        **options,
    )


def row_of(table):
    return float(table.lookup([7])[0, 0])


class Scripted(keras.callbacks.Callback):
    """Puts numbers in the place of a validation loss."""

    def __init__(self, numbers):
        super().__init__()
        self.numbers = numbers

    def on_epoch_end(self, epoch, logs=None):
        logs["val_loss"] = self.numbers[epoch]


def test_restore_best_weights_of_keras_is_refused(make_row_model):
    model, _ = make_row_model()
    stop = keras.callbacks.EarlyStopping(restore_best_weights=True)
    with pytest.raises(
        mt.MonolithError, match=r"restore_best_weights.*mt\.callbacks\.Early"
    ):
        fit(model, 2, Scripted([1.0, 2.0]), stop)


@pytest.mark.parametrize(
    ("losses", "epochs_run", "best"),
    [([3.0, 1.0, 2.0, 2.0, 0.0], 4, 2), ([3.0, 2.0, 1.0, 2.0], 4, 3)],
)
def test_early_stopping_brings_the_rows_of_the_best_epoch_back(
    make_row_model, tmp_path, losses, epochs_run, best
):
    model, table = make_row_model()
    history = fit(
        model,
        len(losses),
        Scripted(losses),
        mt.callbacks.EarlyStopping(tmp_path, patience=2),
    )
    assert len(history.history["val_loss"]) == epochs_run
    assert row_of(table) == -2.0 * best
    assert int(model.optimizer.iterations) == 2 * best


@pytest.mark.parametrize("name", ["best.keras", "best.weights.h5"])
def test_model_checkpoint_of_keras_keeps_the_best_epoch(
    make_row_model, tmp_path, name
):
    model, table = make_row_model()
    best = keras.callbacks.ModelCheckpoint(
        tmp_path / name,
        save_best_only=True,
        save_weights_only="weights" in name,
    )
    fit(model, 3, Scripted([3.0, 1.0, 2.0]), best)
    assert row_of(table) == -6.0
    model.load_weights(tmp_path / name)
    assert row_of(table) == -4.0


def test_checkpoints_let_a_model_go_on(make_row_model, tmp_path):
    model, table = make_row_model(optimizer="adam")
    checkpoints = mt.callbacks.Checkpoints(model, tmp_path)
    assert checkpoints.restore() == 0
    fit(model, 2, checkpoints)
    again, its_table = make_row_model(optimizer="adam")
    checkpoints = mt.callbacks.Checkpoints(again, tmp_path)
    assert checkpoints.restore() == 2
    assert row_of(its_table) == row_of(table) == -4.0
    fit(again, 3, checkpoints, initial_epoch=2)
    assert row_of(its_table) == -6.0
    assert int(again.optimizer.iterations) == 6


def test_table_learning_rate_follows_a_scheduler(make_row_model):
    rate = tf.Variable(0.0)
    model, table = make_row_model(rate)
    fit(
        model,
        2,
        keras.callbacks.LearningRateScheduler(lambda epoch: 0.5 + epoch),
        mt.callbacks.TableLearningRate(factor=4.0),
    )
    assert float(rate) == 6.0
    assert row_of(table) == -2 * 2.0 - 2 * 6.0


def test_table_learning_rate_follows_a_schedule(make_row_model):
    rate = tf.Variable(0.0)
    schedule = keras.optimizers.schedules.ExponentialDecay(0.5, 2, 0.5)
    model, _ = make_row_model(rate, keras.optimizers.SGD(schedule))
    fit(model, 2, mt.callbacks.TableLearningRate(factor=4.0))
    # Of the step with which the second epoch began.
    assert float(rate) == 4.0 * 0.25


def test_summaries_and_metrics_are_written(make_row_model, tmp_path):
    model, _ = make_row_model()
    metrics = mt.callbacks.TrainingMetrics(examples_per_step=1)
    fit(
        model,
        2,
        keras.callbacks.TensorBoard(tmp_path / "logs"),
        mt.callbacks.TableSummaries(tmp_path / "tables"),
        metrics,
    )
    assert metrics.registry.get_sample_value("monolith_training_steps") == 4.0
    (file,) = (tmp_path / "tables").iterdir()
    tags = {
        value.tag
        for event in tf.compat.v1.train.summary_iterator(str(file))
        for value in event.summary.value
    }
    assert "table/movie/rows" in tags
    assert any((tmp_path / "logs").rglob("events*"))


def test_swapped_averages_leave_rows_alone(make_row_model):
    model, table = make_row_model(optimizer=keras.optimizers.SGD(use_ema=True))
    model.add(keras.layers.Dense(1, kernel_initializer="ones"))
    model.compile(
        mt.keras3.with_tables(keras.optimizers.SGD(use_ema=True)),
        sum_of_outputs,
    )
    fit(model, 1, keras.callbacks.SwapEMAWeights(swap_on_epoch=True))
    assert table.size() == 1


def test_pipelined_refuses_a_model_of_keras_3(make_row_model):
    model, _ = make_row_model()
    with pytest.raises(TypeError, match="of Keras 3. Leave pipelined out"):
        mt.pipelined(model)


def test_an_estimator_of_a_model_of_keras_3_is_refused(make_row_model):
    from monolith_tf import estimators

    model, _ = make_row_model()
    with pytest.raises(TypeError, match="must be a tf_keras model"):
        estimators.model_to_estimator(keras_model=model)


def test_stats_of_a_model(make_row_model):
    model, _ = make_row_model()
    fit(model, 1)
    assert mt.metrics.stats(model)["movie"].num_rows == 1
    assert sum(mt.metrics.request_counts(model).applied) >= 2
