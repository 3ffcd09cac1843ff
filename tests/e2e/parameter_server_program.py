"""Part of `cluster_program.py`: trains, saves, restores and writes tables.

Its folder holds checkpoints `shards-1` and `shards-3`. Tables go to one .npz
file per table.
"""

import collections
import gc

import numpy as np
import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf.checkpoint.table_rows import export_rows
from monolith_tf.placement.table_set import servers_of


def dump(table, path):
    """Writes ids, times, and weights with slots, ordered by id."""
    parts = list(export_rows(table, batch_size=64))
    ids, times, rows = map(np.concatenate, zip(*parts, strict=True))
    order = np.argsort(ids)
    np.savez(path, ids=ids[order], times=times[order], rows=rows[order])


def sum_exactly(strategy, coordinator):
    """Both workers add multiples of 1/16 to the same rows at once."""
    with strategy.scope():
        table = mt.Table(
            mt.TableConfig(
                "exact",
                dim=4,
                optimizer=mt.optimizers.SGD(0.5),
                initializer=mt.initializers.Zeros(),
            )
        )
        optimizer = mt.optimizers.with_tables("sgd")
        optimizer.build(table.trainable_variables)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.int64),
            tf.TensorSpec([None, 4], tf.float32),
        ]
    )
    def step(ids, weights):
        def replica(ids, weights):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(table.lookup(ids) * weights)
            gradients = tape.gradient(loss, table.trainable_variables)
            optimizer.apply_gradients(
                [(gradients[0], table.trainable_variables[0])]
            )
            return loss

        return strategy.run(replica, args=(ids, weights))

    random = np.random.default_rng(0)
    expected = collections.defaultdict(lambda: np.zeros(4, np.float32))
    scheduled = []
    for _ in range(150):
        length = int(random.integers(1, 300))
        ids = random.integers(-200, 200, length)
        weights = random.integers(-4, 5, (length, 4)).astype(np.float32) / 8
        for one, weight in zip(ids, weights, strict=True):
            expected[int(one)] -= 0.5 * weight
        result = coordinator.schedule(
            step, args=(tf.constant(ids), tf.constant(weights))
        )
        scheduled.append((result, set(ids.tolist())))
    coordinator.join()
    hit_by = collections.defaultdict(set)
    for result, ids in scheduled:
        (loss,) = tf.nest.flatten(result._get_values())
        for one in ids:
            hit_by[one].add(loss.backing_device)
    ids = sorted(expected)
    rows = table.lookup(ids).numpy()
    wrong = (rows != np.stack([expected[one] for one in ids])).any(axis=1)
    return {
        "rows": table.size(),
        "expected_rows": len(ids),
        "wrong_rows": int(wrong.sum()),
        "share_hit_by_both": sum(len(by) == 2 for by in hit_by.values())
        / len(ids),
        "steps": int(optimizer.iterations.numpy()),
        "sizes_of_shards": [
            int(mt.ops.size(handle, table="exact"))
            for _, handle in servers_of(table.table_set)
        ],
    }


def fit(strategy, directory):
    """Keras fit, evaluate and predict; ragged ids of varying lengths."""
    ids = np.arange(40)
    with strategy.scope():
        inputs = tf_keras.Input([None], dtype="int64", ragged=True)
        layer = mt.layers.DynamicEmbedding(
            mt.TableConfig("user", dim=4, optimizer=mt.optimizers.Adagrad(1.0)),
            combiner="mean",
        )
        outputs = tf_keras.layers.Dense(1, "sigmoid")(layer(inputs))
        model = tf_keras.Model(inputs, outputs)
        model.compile(
            mt.optimizers.with_tables("adam"),
            "binary_crossentropy",
            metrics=["accuracy"],
            steps_per_execution=2,
        )

    def dataset(context):
        del context
        lengths = np.arange(40) % 3 + 1
        values = np.repeat(ids, lengths)
        return (
            tf.data.Dataset.from_tensor_slices(
                (
                    tf.RaggedTensor.from_row_lengths(values, lengths),
                    (ids % 2).astype(np.float32),
                )
            )
            .repeat()
            .shuffle(40, seed=1)
            .batch(7)
        )

    creator = tf_keras.utils.experimental.DatasetCreator(dataset)
    history = model.fit(creator, steps_per_epoch=20, epochs=6, verbose=0)
    size = layer.table.size()
    loss, accuracy = model.evaluate(creator, steps=10, verbose=0)
    predictions = model.predict(
        dataset(None).map(lambda features, label: features), steps=4, verbose=0
    )
    model.save_weights(str(directory / "fit-weights"))
    dump(layer.table, directory / "user.npz")
    return {
        "losses": history.history["loss"],
        "rows": size,
        "rows_after_evaluate_and_predict": layer.table.size(),
        "accuracy": accuracy,
        "loss": loss,
        "predictions": list(predictions.shape),
    }


def change_learning_rate(strategy, coordinator):
    """A rate in a variable, changed between steps of one function."""
    with strategy.scope():
        rate = tf.Variable(1.0)
        table = mt.Table(
            mt.TableConfig(
                "rate",
                dim=1,
                optimizer=mt.optimizers.SGD(rate),
                initializer=mt.initializers.Zeros(),
            )
        )
        optimizer = mt.optimizers.with_tables("sgd")

    @tf.function
    def step():
        def replica():
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(table.lookup([7]))
            optimizer.apply_gradients(
                [
                    (
                        tape.gradient(loss, table.trainable_variables[0]),
                        table.trainable_variables[0],
                    )
                ]
            )

        strategy.run(replica)

    values = []
    for value in (1.0, 0.5, 0.25):
        rate.assign(value)
        coordinator.schedule(step)
        coordinator.join()
        values.append(float(table.lookup([7])[0, 0]))
    return values


def admit_by_feature(strategy, coordinator):
    """Features of a table with bars of their own."""
    with strategy.scope():
        config = mt.TableConfig(
            "rare", dim=1, admission=mt.Admission(min_count=4)
        )
        layer = mt.layers.EmbeddingCollection(
            [
                mt.FeatureConfig("a", config, min_count=2),
                mt.FeatureConfig("b", config),
                mt.FeatureConfig("c", config, probability=1.0),
                mt.FeatureConfig("d", config, probability=2**-31),
            ]
        )
        optimizer = mt.optimizers.with_tables("sgd")
        variables = layer.trainable_variables

    @tf.function
    def step():
        def replica():
            ids = tf.range(30, dtype=tf.int64)
            with tf.GradientTape() as tape:
                vectors = layer(
                    {
                        "a": ids[:10],
                        "b": ids[5:],
                        "c": ids[:3] + 100,
                        "d": ids[:3] + 200,
                    }
                )
                loss = tf.add_n([tf.reduce_sum(v) for v in vectors.values()])
            gradients = tape.gradient(loss, variables)
            optimizer.apply_gradients(zip(gradients, variables, strict=True))

        strategy.run(replica)

    admitted = []
    for _ in range(4):
        coordinator.schedule(step)
        coordinator.join()
        parts = [ids.tolist() for ids, _ in layer.tables[0].export()]
        admitted.append(sorted(sum(parts, [])))
    return admitted


def expire_by_feature(strategy, coordinator):
    """Rows after the ttl of one of two features that share a table."""
    with strategy.scope():
        config = mt.TableConfig(
            "expires", dim=1, eviction=mt.Eviction(ttl_seconds=100)
        )
        layer = mt.layers.EmbeddingCollection(
            [
                mt.FeatureConfig("short", config, ttl_seconds=10),
                mt.FeatureConfig("long", config),
            ]
        )
        optimizer = mt.optimizers.with_tables("sgd")
        optimizer.build(layer.trainable_variables)

    @tf.function
    def step():
        def replica():
            variables = layer.trainable_variables
            ids = {"short": tf.range(50), "long": tf.range(40, 60)}
            with tf.GradientTape() as tape:
                vectors = layer(ids)
                loss = tf.add_n([tf.reduce_sum(v) for v in vectors.values()])
            with mt.event_time(1_700_000_000):
                optimizer.apply_gradients(
                    zip(tape.gradient(loss, variables), variables)
                )

        strategy.run(replica)

    coordinator.schedule(step)
    coordinator.join()
    (table,) = layer.tables
    sizes = [table.size()]
    for seconds in (10, 11, 101):
        table.sweep(event_time=1_700_000_000 + seconds)
        sizes.append(table.size())
    return sizes


def make_again(strategy):
    """A table of a name and config that another one had before it went."""
    with strategy.scope(), mt.TableSet():
        kept = mt.Table(mt.TableConfig("kept", dim=1))
        for _ in range(2):
            table = mt.Table(mt.TableConfig("gone", dim=1))
            sizes = [table.size()]
            table.assign([7], [[1.0]])
            sizes.append(table.size())
            del table
            gc.collect()
        # One of another config.
        sizes.append(mt.Table(mt.TableConfig("gone", dim=2)).size())
    del kept
    return sizes


def train_in_order(strategy, directory):
    """The steps that `train_in_order` of the tests makes in one process."""
    with strategy.scope():
        table = mt.Table(
            mt.TableConfig(
                "ordered", dim=3, optimizer=mt.optimizers.Adam(0.1), seed=11
            )
        )
    ids = np.arange(-30, 30)
    np.save(directory / "initial.npy", table.lookup(ids).numpy())
    random = np.random.default_rng(5)
    for number in range(20):
        ids = random.integers(-30, 30, 25)
        gradients = random.normal(size=(25, 3)).astype(np.float32)
        table.apply_gradients(
            ids, gradients, event_time=tf.constant(1000 + number, tf.int64)
        )
    dump(table, directory / "ordered.npz")
    tf.train.Checkpoint(table=table).write(str(directory / "servers-2"))
    for shards in (1, 3):
        table.assign([10**6], np.zeros([1, 3], np.float32))
        tf.train.Checkpoint(table=table).read(
            str(directory / f"shards-{shards}")
        ).assert_consumed()
        dump(table, directory / f"restored-from-{shards}.npz")


def warm_start(strategy, directory):
    """Two servers take tables of a model from what three servers wrote."""
    with strategy.scope():
        # Not in the set of the other tables: this one is restored.
        with mt.TableSet():
            inputs = tf_keras.Input([], dtype="int64")
            vectors = mt.layers.EmbeddingCollection(
                [
                    mt.FeatureConfig("whole", warm_config("whole", "Adam")),
                    mt.FeatureConfig(
                        "weights", warm_config("weights", "Adagrad")
                    ),
                    mt.FeatureConfig("fresh", warm_config("fresh", "SGD")),
                ],
                name="tables",
            )(dict.fromkeys(["whole", "weights", "fresh"], inputs))
        outputs = tf_keras.layers.Concatenate()(list(vectors.values()))
        model = tf_keras.Model(inputs, outputs)
    tables = {t.name: t for t in model.get_layer("tables").tables}
    tables["fresh"].assign([5], [[1.0, 2.0, 3.0]])
    path = directory / "shards-3"
    names = {"whole": "ordered", "weights": "ordered"}
    mt.checkpoint.restore_tables(model, path, names, only=["whole"])
    with mt.event_time(77):
        mt.checkpoint.restore_tables(
            model, path, names, only=["weights"], slots=False
        )
    for name, table in tables.items():
        dump(table, directory / f"warm-{name}.npz")


def warm_config(name, optimizer):
    return mt.TableConfig(
        name, dim=3, optimizer=getattr(mt.optimizers, optimizer)()
    )


def run(cluster, strategy, coordinator, directory):
    """Runs everything; returns the report."""
    del cluster
    report = {
        "exact": sum_exactly(strategy, coordinator),
        "rates": change_learning_rate(strategy, coordinator),
        "made again": make_again(strategy),
        "by feature": admit_by_feature(strategy, coordinator),
        "expires": expire_by_feature(strategy, coordinator),
    }
    train_in_order(strategy, directory)
    warm_start(strategy, directory)
    report["fit"] = fit(strategy, directory)
    try:
        with strategy.scope():
            mt.TableSet(num_shards=2)
    except ValueError as error:
        report["num_shards"] = str(error)
    return report
