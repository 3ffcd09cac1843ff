"""Ways to keep a model of Keras 3: those that keep its rows, and the others."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt

IDS = np.array([[1, 2], [2, 2], [-7, 1], [2**40, 5]], np.int64)
LABELS = np.array([0.0, 1.0, 0.0, 1.0], np.float32)


def make_configs():
    return {
        "movie": mt.TableConfig("movie", 2, optimizer=mt.optimizers.Adam(0.1)),
        "genre": mt.TableConfig("genre", 3, optimizer=mt.optimizers.Adagrad()),
    }


def make_features(movie, genre):
    """Rows of two features, and of another table."""
    return [
        mt.FeatureConfig("a", movie, combiner="sum"),
        mt.FeatureConfig("b", movie, combiner="mean", padding_id=2),
        mt.FeatureConfig("c", genre, combiner="sqrtn"),
    ]


def functional():
    inputs = keras.Input([2], dtype="int64")
    vectors = mt.keras3.EmbeddingCollection(make_features(**make_configs()))(
        {"a": inputs, "b": inputs, "c": inputs}
    )
    hidden = keras.layers.Concatenate()(list(vectors.values()))
    return keras.Model(inputs, keras.layers.Dense(1)(hidden))


def sequential():
    return keras.Sequential(
        [
            keras.Input([2], dtype="int64"),
            mt.keras3.DynamicEmbedding(make_configs()["movie"], "sum"),
            keras.layers.Dense(1),
        ]
    )


@keras.saving.register_keras_serializable(package="monolith_tf_tests")
class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.embedding = mt.keras3.EmbeddingCollection(
            make_features(**make_configs())
        )
        self.top = keras.layers.Dense(1)

    def call(self, inputs):
        vectors = self.embedding({"a": inputs, "b": inputs, "c": inputs})
        return self.top(keras.ops.concatenate(list(vectors.values()), axis=-1))


KINDS = [functional, sequential, Subclassed]


def made(build=functional, epochs=0):
    with mt.TableSet():
        model = build()
    model.compile(mt.keras3.with_tables("adam"), "mse")
    if epochs:
        fit(model, epochs)
    return model


def fit(model, epochs=1, **kwargs):
    return model.fit(
        IDS,
        LABELS,
        batch_size=2,
        shuffle=False,
        epochs=epochs,
        verbose=0,
        **kwargs,
    )


@pytest.mark.slow
@pytest.mark.parametrize("build", KINDS)
def test_a_keras_file_keeps_rows_slots_times_and_the_optimizer(
    build, tmp_path, contents, assert_same_state
):
    model = made(build, epochs=3)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert contents(loaded) == contents(model)
    assert all(rows for rows in contents(loaded).values())
    assert type(loaded.optimizer) is type(model.optimizer)
    assert_same_state(loaded, model)
    np.testing.assert_array_equal(
        loaded.predict(IDS, verbose=0), model.predict(IDS, verbose=0)
    )
    # Slots and counts must be right for both to go on alike.
    fit(loaded), fit(model)
    assert_same_state(loaded, model)


@pytest.mark.slow
@pytest.mark.parametrize("build", KINDS)
@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_weights_load_into_the_same_model(build, suffix, tmp_path, contents):
    model, other = made(build, epochs=2), made(build, epochs=1)
    assert contents(model, times=False) != contents(other, times=False)
    path = tmp_path / f"model{suffix}"
    (model.save_weights if "weights" in suffix else model.save)(path)
    other.load_weights(path)
    assert contents(other) == contents(model)
    np.testing.assert_array_equal(
        other.predict(IDS, verbose=0), model.predict(IDS, verbose=0)
    )


@pytest.mark.slow
@pytest.mark.parametrize("build", KINDS)
def test_a_checkpoint_of_tensorflow_keeps_rows_slots_and_the_optimizer(
    build, tmp_path, assert_same_state
):
    model, other = made(build, epochs=2), made(build, epochs=1)
    path = tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(
        tmp_path / "c"
    )
    tf.train.Checkpoint(model=other, optimizer=other.optimizer).restore(
        path
    ).assert_existing_objects_matched()
    assert_same_state(other, model)
    fit(model), fit(other)
    assert_same_state(other, model)


def test_tables_are_restored_by_name_whichever_keras_saved_them(
    tmp_path, contents
):
    config = make_configs()["movie"]
    with mt.TableSet():
        twin = tf_keras.Sequential(
            [
                tf_keras.Input([2], dtype="int64"),
                mt.layers.DynamicEmbedding(config, "sum"),
            ]
        )
    model = made(sequential, epochs=2)
    path = tf.train.Checkpoint(any_name=model).save(tmp_path / "saved")
    mt.checkpoint.restore_tables(twin, path)
    assert contents(twin) == contents(model)
    twin.layers[0].table.assign([1, 2], [[1.0, 2.0], [3.0, 4.0]])
    twin.save_weights(tmp_path / "twin")
    mt.checkpoint.restore_tables(model, tmp_path / "twin")
    assert contents(twin) == contents(model)


def test_layers_that_share_a_table_share_it_after_loading(tmp_path, contents):
    config = mt.TableConfig("movie", dim=2)
    inputs = [keras.Input([], dtype="int64", name=name) for name in "ab"]
    with mt.TableSet():
        outputs = [
            mt.keras3.DynamicEmbedding(config, name="left")(inputs[0]),
            mt.keras3.EmbeddingCollection(
                [mt.FeatureConfig("b", config)], name="right"
            )({"b": inputs[1]})["b"],
        ]
    model = keras.Model(inputs, outputs)
    model.get_layer("left").table.assign([1, 2], np.eye(2, dtype=np.float32))
    model.save(tmp_path / "model.keras")
    loaded = [
        keras.saving.load_model(tmp_path / "model.keras") for _ in range(2)
    ]
    for one in loaded:
        assert one.get_layer("left").table is one.get_layer("right").tables[0]
        assert contents(one) == contents(model)
        assert len(one.trainable_weights) == 1
    tables = [one.get_layer("left").table for one in (*loaded, model)]
    assert len(set(map(id, tables))) == 3


def test_a_file_without_the_table_or_of_another_dim_is_refused(tmp_path):
    model = made(sequential, epochs=1)
    model.save(tmp_path / "model.keras")
    for config, message in (
        (mt.TableConfig("user", dim=2), "no rows of table 'user'"),
        (mt.TableConfig("movie", dim=3), "do not fit table 'movie'"),
    ):
        with mt.TableSet():
            layer = mt.keras3.DynamicEmbedding(config, "sum")
        layer.table.assign([9], np.ones([1, config.dim], np.float32))
        other = keras.Sequential(
            [keras.Input([2], dtype="int64"), layer, keras.layers.Dense(1)]
        )
        # Keras puts the reason into an error of its own.
        with pytest.raises(ValueError, match=message):
            other.load_weights(tmp_path / "model.keras")
        assert [ids.tolist() for ids, _ in layer.table.export()] == [[9]]


def test_a_saved_model_directory_is_refused(tmp_path):
    for save in (
        made().export,
        lambda path: tf.saved_model.save(made(), path),
    ):
        with pytest.raises(
            mt.MonolithError, match=r"serving\.export_saved_model\(model, dir"
        ):
            save(str(tmp_path / "model"))


def test_get_weights_and_set_weights_are_refused_with_the_way_that_works(
    contents,
):
    model = made(epochs=1)
    before = contents(model)
    with pytest.raises(
        mt.MonolithError, match=r"ModelCheckpoint.*model\.load_weights"
    ):
        model.get_weights()
    arrays = [np.zeros(weight.shape) for weight in model.weights]
    with pytest.raises(mt.MonolithError, match="mt.Table.assign"):
        model.set_weights(arrays)
    assert contents(model) == before


def test_a_layer_is_made_again_from_its_config():
    layer = made().layers[1]
    with mt.TableSet():
        again = type(layer).from_config(layer.get_config())
    assert again.get_config().keys() == layer.get_config().keys()
    for ours, theirs in zip(again.features, layer.features, strict=True):
        assert ours.config.same_as(theirs.config)
        assert (ours.name, ours.combiner, ours.padding_id) == (
            theirs.name,
            theirs.combiner,
            theirs.padding_id,
        )
    assert again.tables[0] is not layer.tables[0]


def test_a_cloned_model_has_tables_of_its_own():
    model = made(sequential, epochs=1)
    with mt.TableSet():
        clone = keras.models.clone_model(model)
    assert clone.layers[0].table is not model.layers[0].table
    assert clone.layers[0].table.size() == 0
