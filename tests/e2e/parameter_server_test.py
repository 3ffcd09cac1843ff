"""Two parameter servers and two workers, as processes of their own."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf.checkpoint.table_rows import export_rows


def whole(table):
    """Ids, times, and weights with slots, ordered by id."""
    parts = list(export_rows(table, batch_size=64))
    ids, times, rows = map(np.concatenate, zip(*parts, strict=True))
    order = np.argsort(ids)
    return {"ids": ids[order], "times": times[order], "rows": rows[order]}


def equal(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], name)


def train_in_order(num_shards):
    """The steps of `train_in_order` of the program, in one process."""
    with mt.TableSet(num_shards=num_shards):
        table = mt.Table(
            mt.TableConfig(
                "ordered", dim=3, optimizer=mt.optimizers.Adam(0.1), seed=11
            )
        )
    initial = table.lookup(np.arange(-30, 30)).numpy()
    random = np.random.default_rng(5)
    for number in range(20):
        ids = random.integers(-30, 30, 25)
        gradients = random.normal(size=(25, 3)).astype(np.float32)
        table.apply_gradients(
            ids, gradients, event_time=tf.constant(1000 + number, tf.int64)
        )
    return initial, whole(table)


def test_every_row_is_the_exact_sum_of_what_two_workers_sent(
    cluster_run,
):
    exact = cluster_run.report("training")["exact"]
    assert exact["wrong_rows"] == 0
    assert exact["rows"] == exact["expected_rows"] == 400
    assert exact["steps"] == 150
    assert exact["share_hit_by_both"] >= 0.3
    assert sum(exact["sizes_of_shards"]) == 400
    assert min(exact["sizes_of_shards"]) > 100


def test_fit_evaluate_and_predict_work_with_stock_keras(cluster_run):
    fit = cluster_run.report("training")["fit"]
    assert fit["losses"][-1] < fit["losses"][0] / 2
    assert fit["accuracy"] > 0.9
    assert fit["rows"] == fit["rows_after_evaluate_and_predict"] == 40
    assert fit["predictions"] == [28, 1]


def test_a_learning_rate_in_a_variable_is_read_at_each_step(
    cluster_run,
):
    assert cluster_run.report("training")["rates"] == [-1.0, -1.5, -1.75]


def test_features_of_a_table_admit_at_counts_of_their_own(cluster_run):
    # 5 to 9 occur twice per step, once of it in the feature that asks for 2; 0
    # to 4 once a step there; the others in the one where the table's 4 holds.
    # 100 to 102 draw lots that always win, 200 to 202 lots that hardly ever do.
    drawn = [100, 101, 102]
    assert cluster_run.report("training")["by feature"] == [
        [*range(5, 10), *drawn],
        [*range(10), *drawn],
        [*range(10), *drawn],
        [*range(30), *drawn],
    ]


def test_features_of_a_table_keep_rows_for_times_of_their_own(
    cluster_run,
):
    # Ids 0 to 49 come through the short one, 40 to 59 through the long one.
    assert cluster_run.report("training")["expires"] == [60, 60, 20, 0]


def test_a_table_that_is_made_again_has_no_rows(cluster_run):
    assert cluster_run.report("training")["made again"] == [0, 1, 0]


def test_num_shards_is_refused_under_the_strategy(cluster_run):
    message = cluster_run.report("training")["num_shards"]
    assert "leave num_shards out" in message


def test_one_seed_gives_one_result_on_1_2_and_3_shards():
    initial, expected = train_in_order(1)
    assert len(expected["ids"]) > 50
    for num_shards in (2, 3):
        also_initial, rows = train_in_order(num_shards)
        np.testing.assert_array_equal(also_initial, initial)
        equal(rows, expected)


def test_one_seed_gives_the_same_result_on_two_servers(cluster_run):
    initial, expected = train_in_order(1)
    np.testing.assert_array_equal(
        np.load(cluster_run.directory / "initial.npy"), initial
    )
    equal(cluster_run.table("ordered"), expected)


@pytest.mark.parametrize("num_shards", [1, 2, 3])
def test_what_two_servers_saved_restores_on_any_number_of_shards(
    cluster_run, num_shards
):
    with mt.TableSet(num_shards=num_shards):
        table = mt.Table(
            mt.TableConfig("ordered", dim=3, optimizer=mt.optimizers.Adam())
        )
    path = cluster_run.directory / "servers-2"
    tf.train.Checkpoint(table=table).read(str(path)).assert_consumed()
    equal(whole(table), cluster_run.table("ordered"))


@pytest.mark.parametrize("num_shards", [1, 3])
def test_two_servers_restore_what_any_number_of_shards_saved(
    cluster_run, num_shards
):
    equal(
        cluster_run.table(f"restored-from-{num_shards}"),
        cluster_run.contents,
    )


def test_tables_of_a_model_start_from_what_three_servers_wrote(
    cluster_run,
):
    saved = cluster_run.contents
    equal(cluster_run.table("warm-whole"), saved)
    weights = cluster_run.table("warm-weights")
    np.testing.assert_array_equal(weights["ids"], saved["ids"])
    np.testing.assert_array_equal(weights["rows"][:, :3], saved["rows"][:, :3])
    # Slots and times are those of rows that were made now.
    accumulators = weights["rows"][:, 3:]
    assert accumulators.shape == (500, 3)
    assert np.unique(accumulators).size == 1
    assert set(weights["times"]) == {77}
    assert cluster_run.table("warm-fresh")["ids"].tolist() == [5]


@pytest.mark.parametrize("num_shards", [1, 3])
def test_weights_saved_by_fit_on_two_servers_load_in_one_process(
    cluster_run, num_shards
):
    with mt.TableSet(num_shards=num_shards):
        inputs = tf_keras.Input([None], dtype="int64", ragged=True)
        layer = mt.layers.DynamicEmbedding(
            mt.TableConfig("user", dim=4), combiner="mean"
        )
        outputs = tf_keras.layers.Dense(1, "sigmoid")(layer(inputs))
        model = tf_keras.Model(inputs, outputs)
    path = cluster_run.directory / "fit-weights"
    model.load_weights(str(path)).expect_partial()
    equal(whole(layer.table), cluster_run.table("user"))
    ids = np.arange(40)
    predictions = model(tf.RaggedTensor.from_row_lengths(ids, [1] * 40))
    right = (predictions.numpy()[:, 0] > 0.5) == (ids % 2 == 1)
    assert right.mean() > 0.9
