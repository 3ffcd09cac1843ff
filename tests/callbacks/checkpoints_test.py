"""A model goes on where its last checkpoint was."""

import logging
import pathlib

import pytest
import tf_keras

import monolith_tf as mt
from monolith_tf.errors import CheckpointError


@pytest.mark.slow
def test_a_new_process_goes_on_where_the_last_checkpoint_was(
    make_row_model, fit, tmp_path
):
    model, _ = make_row_model()
    checkpoints = mt.callbacks.Checkpoints(model, tmp_path)
    assert checkpoints.restore() == 0
    fit(model, 3, checkpoints)
    model, table = make_row_model()
    checkpoints = mt.callbacks.Checkpoints(model, tmp_path)
    assert checkpoints.restore() == 3
    assert float(table.lookup([7])[0, 0]) == -6.0
    assert int(model.optimizer.iterations) == 6
    fit(model, 5, checkpoints, initial_epoch=3)
    assert float(table.lookup([7])[0, 0]) == -10.0
    assert int(model.optimizer.iterations) == 10


@pytest.mark.slow
def test_slots_of_the_dense_optimizer_go_on_too(tmp_path):
    def make():
        with mt.TableSet():
            model = tf_keras.Sequential(
                [
                    tf_keras.Input([], dtype="int64"),
                    mt.layers.DynamicEmbedding(mt.TableConfig("movie", 2)),
                    tf_keras.layers.Dense(1, kernel_initializer="ones"),
                ]
            )
        model.compile(mt.optimizers.with_tables("adam"), "mse")
        return model

    def fit(model, first, last, *callbacks):
        model.fit(
            [1, 2, 3],
            [0.0, 1.0, 2.0],
            initial_epoch=first,
            epochs=last,
            shuffle=False,
            verbose=0,
            callbacks=list(callbacks),
        )

    whole = make()
    fit(whole, 0, 4)
    half = make()
    fit(half, 0, 2, mt.callbacks.Checkpoints(half, tmp_path))
    rest = make()
    first = mt.callbacks.Checkpoints(rest, tmp_path).restore()
    fit(rest, first, 4)
    assert first == 2
    assert rest.predict([1, 2, 3], verbose=0).tolist() == (
        whole.predict([1, 2, 3], verbose=0).tolist()
    )


def test_only_the_last_checkpoints_are_kept(make_row_model, fit, tmp_path):
    model, _ = make_row_model()
    checkpoints = mt.callbacks.Checkpoints(
        model, tmp_path, max_to_keep=2, every_epochs=2
    )
    fit(model, 7, checkpoints)
    kept = sorted(path.name for path in pathlib.Path(tmp_path).glob("*.index"))
    assert kept == ["ckpt-4.index", "ckpt-6.index"]
    assert checkpoints.latest.endswith("ckpt-6")
    assert checkpoints.restore(str(tmp_path / "ckpt-4")) == 4


@pytest.fixture
def saved(make_row_model, fit, tmp_path):
    """Checkpoints of three epochs."""
    model, _ = make_row_model()
    fit(model, 3, mt.callbacks.Checkpoints(model, tmp_path))
    return tmp_path


@pytest.mark.parametrize("content", [None, b"", b"\xffgarbled"])
def test_a_damaged_state_costs_no_checkpoint(
    make_row_model, fit, saved, content
):
    state = saved / "checkpoint"
    state.unlink() if content is None else state.write_bytes(content)
    model, table = make_row_model()
    checkpoints = mt.callbacks.Checkpoints(model, saved)
    assert checkpoints.restore() == 3
    assert float(table.lookup([7])[0, 0]) == -6.0
    # The older ones still count.
    fit(model, 4, checkpoints, initial_epoch=3)
    kept = sorted(path.name for path in saved.glob("*.index"))
    assert kept == ["ckpt-2.index", "ckpt-3.index", "ckpt-4.index"]


@pytest.mark.parametrize("part", ["index", "data-*"])
@pytest.mark.parametrize("how", ["missing", "torn"])
def test_the_newest_whole_checkpoint_is_restored_loudly(
    make_row_model, saved, part, how, caplog
):
    path = sorted(saved.glob(f"ckpt-3.{part}"))[-1]
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-20])
    model, table = make_row_model()
    with caplog.at_level(logging.ERROR):
        assert mt.callbacks.Checkpoints(model, saved).restore() == 2
    assert "ckpt-3" in caplog.text
    assert float(table.lookup([7])[0, 0]) == -4.0
    assert int(model.optimizer.iterations) == 4


def test_training_never_begins_at_nothing_beside_files(make_row_model, saved):
    for path in saved.glob("*.index"):
        path.write_bytes(b"")
    model, _ = make_row_model()
    checkpoints = mt.callbacks.Checkpoints(model, saved)
    with pytest.raises(CheckpointError, match="none is whole.*allow_fresh"):
        checkpoints.restore()
    assert checkpoints.restore(allow_fresh=True) == 0


@pytest.mark.parametrize("name", ["max_to_keep", "every_epochs"])
def test_a_number_below_1_is_refused(make_row_model, tmp_path, name):
    with pytest.raises(
        ValueError, match=f"{name} of at least 1. Received: {name}=0"
    ):
        mt.callbacks.Checkpoints(make_row_model()[0], tmp_path, **{name: 0})


def test_a_model_that_is_not_compiled_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Call model.compile first"):
        mt.callbacks.Checkpoints(tf_keras.Sequential(), tmp_path)
