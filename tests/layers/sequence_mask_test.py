"""Layers behind a sequence of vectors leave out what stands for no id."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt

ROWS = [[3, 5], [], [7], [5, 3, 7]]
RAGGED = tf.ragged.constant(ROWS, tf.int64)
# Longer than the longest by two.
DENSE = RAGGED.to_tensor(0, shape=[None, 5])
LABELS = tf.constant([[1.0], [0.0], [-1.0], [2.0]])
UNITS = 3


def make_table(name="item"):
    with mt.TableSet():
        return mt.Table(
            mt.TableConfig(name, dim=2, optimizer=mt.optimizers.SGD(0.5))
        )


class Pooled(tf_keras.layers.Layer):
    """Attention of a sequence to itself, then the mean: both with the mask."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.attention = tf_keras.layers.MultiHeadAttention(1, 2)
        self.mean = tf_keras.layers.GlobalAveragePooling1D()

    def call(self, inputs, mask=None):
        found = self.attention(inputs, inputs)
        return self.mean(found, mask=mask)


TOPS = {
    # LSTM takes seconds to trace; SimpleRNN reads the mask in the same way.
    "lstm": lambda: tf_keras.layers.LSTM(UNITS, activation="tanh"),
    "rnn": lambda: tf_keras.layers.SimpleRNN(UNITS),
    "attention": Pooled,
}


def layer_of(table, combiner=None, padding_id=0, max_sequence_length=None):
    return mt.layers.EmbeddingCollection(
        [
            mt.FeatureConfig(
                "history", table, combiner, padding_id, max_sequence_length
            ),
            mt.FeatureConfig("last", table, padding_id=0),
        ]
    )


def functional(layer, top, spec):
    inputs = {
        "history": tf_keras.Input(type_spec=spec, name="history"),
        "last": tf_keras.Input([], dtype="int64", name="last"),
    }
    vectors = layer(inputs)
    joined = tf_keras.layers.Concatenate()(
        [top(vectors["history"]), vectors["last"]]
    )
    return tf_keras.Model(inputs, tf_keras.layers.Dense(1)(joined))


class Subclassed(tf_keras.Model):
    def __init__(self, layer, top, spec):
        super().__init__()
        del spec
        self.layer = layer
        self.top = top
        self.dense = tf_keras.layers.Dense(1)

    def call(self, inputs):
        vectors = self.layer(inputs)
        return self.dense(
            tf.concat([self.top(vectors["history"]), vectors["last"]], axis=-1)
        )


def batch_of(history, rows=slice(None)):
    return {"history": history[rows], "last": tf.constant([3, 0, 7, 7])[rows]}


def spec_of(history):
    if isinstance(history, tf.RaggedTensor):
        return tf.RaggedTensorSpec([None, None], tf.int64)
    return tf.TensorSpec([None, history.shape[1]], tf.int64)


def trained(make_model, top, history, rows=slice(None), weights=None, **kwargs):
    """The model after two steps: dense weights before and after, rows."""
    table = make_table()
    model = make_model(layer_of(table, **kwargs), TOPS[top](), spec_of(history))
    batch = batch_of(history, rows)
    model(batch)
    dense = [w for w in model.weights if "item" not in w.name]
    for weight, value in zip(dense, weights or [], strict=bool(weights)):
        weight.assign(value)
    start = [w.numpy() for w in dense]
    model.compile(
        mt.optimizers.with_tables(tf_keras.optimizers.SGD(0.3)), "mse"
    )
    data = tf.data.Dataset.from_tensors((batch, LABELS[rows])).repeat(2)
    model.fit(data, epochs=1, verbose=0)
    rows_now = table.lookup([3, 5, 7, 0]).numpy()
    return model, start, [w.numpy() for w in dense], rows_now


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make_model", "top"),
    [(functional, "lstm"), (functional, "attention"), (Subclassed, "rnn")],
)
def test_padding_makes_no_difference_to_what_fit_learns(make_model, top):
    """One example of three ids, without padding and with it."""
    row = slice(3, 4)
    short = RAGGED.to_tensor(0)
    assert short.shape[1] == 3
    _, start, expected, rows = trained(make_model, top, short, row)
    _, _, found, padded_rows = trained(
        make_model, top, DENSE, row, weights=start
    )
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(padded_rows, rows, rtol=1e-5, atol=1e-6)
    # And the mask did it: without one the padding is read as an id.
    _, _, unmasked, _ = trained(
        make_model, top, DENSE, row, weights=start, padding_id=None
    )
    assert any(
        np.abs(one - other).max() > 1e-4
        for one, other in zip(expected, unmasked, strict=True)
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make_model", "kind"),
    [
        (functional, "ragged"),
        (Subclassed, "first_n"),
        (functional, "first_n of ragged"),
    ],
)
def test_ragged_ids_and_first_n_learn_the_same(make_model, kind):
    top = "rnn"
    rows = [0, 2, 3]
    dense = tf.gather(DENSE, rows)
    labels = tf.gather(LABELS, rows)
    first = {"combiner": "first_n", "max_sequence_length": 4}
    history, more = {
        "ragged": (tf.gather(RAGGED, rows), {}),
        "first_n": (dense, first),
        "first_n of ragged": (tf.gather(RAGGED, rows), first),
    }[kind]

    def outputs(history, weights=None, **kwargs):
        table = make_table()
        model = make_model(
            layer_of(table, **kwargs), TOPS[top](), spec_of(history)
        )
        batch = {"history": history, "last": tf.constant([3, 7, 7])}
        model(batch)
        variables = [w for w in model.weights if "item" not in w.name]
        if weights is not None:
            for variable, value in zip(variables, weights, strict=True):
                variable.assign(value)
        start = [w.numpy() for w in variables]
        model.compile(mt.optimizers.with_tables("sgd"), "mse")
        data = tf.data.Dataset.from_tensors((batch, labels)).repeat(2)
        model.fit(data, verbose=0)
        return start, model(batch).numpy()

    start, expected = outputs(dense)
    _, found = outputs(history, start, **more)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make_model", "top"), [(functional, "rnn"), (Subclassed, "attention")]
)
def test_an_export_masks_as_the_trainer(tmp_path, make_model, top):
    rows = slice(2, 4)
    model, *_ = trained(make_model, top, DENSE, rows)
    batch = batch_of(DENSE, rows)
    expected = model(batch)
    mt.serving.export_saved_model(model, tmp_path)
    (version,) = tmp_path.glob("*/saved_model.pb")
    served = tf.saved_model.load(str(version.parent))
    serve = served.signatures["serving_default"]
    dtypes = serve.structured_input_signature[1]
    (answer,) = serve(
        **{name: tf.cast(v, dtypes[name].dtype) for name, v in batch.items()}
    ).values()
    np.testing.assert_allclose(answer, expected, rtol=1e-5, atol=1e-6)


def test_first_n_is_masked_behind_the_ids_of_an_example():
    expected = [[1, 1], [0, 0], [1, 0], [1, 1]]
    layer = mt.layers.DynamicEmbedding(
        make_table(), "first_n", padding_id=0, max_sequence_length=2
    )
    inner = tf.constant([[0, 3, 0, 0, 5], *[[0] * 5] * 3], tf.int64)
    for ids in (RAGGED, DENSE, RAGGED.to_sparse(), tf.maximum(DENSE, inner)):
        vectors = layer(ids)
        mask = layer.compute_mask(ids)
        assert mask.shape == vectors.shape[:-1]
        assert mask.numpy().astype(int).tolist() == expected
    single = layer.compute_mask(tf.constant([3, 0]))
    assert single.numpy().tolist() == [[True, False], [False, False]]


def test_a_default_id_stands_in_the_first_place_of_first_n():
    layer = mt.layers.DynamicEmbedding(
        make_table(),
        "first_n",
        padding_id=0,
        max_sequence_length=2,
        default_id=9,
    )
    for ids in (RAGGED, DENSE):
        mask = layer.compute_mask(ids).numpy().astype(int).tolist()
        assert mask == [[1, 1], [1, 0], [1, 0], [1, 1]]


def test_a_sequential_model_passes_the_mask_on():
    table = make_table()
    model = tf_keras.Sequential(
        [
            tf_keras.Input([None], dtype="int64"),
            mt.layers.DynamicEmbedding(table, padding_id=0),
            tf_keras.layers.LSTM(UNITS),
        ]
    )
    short = model(DENSE[3:, :3])
    np.testing.assert_allclose(model(DENSE[3:]), short, atol=1e-6)
