"""A model goes on where its last checkpoint was."""

import pathlib

import pytest
import tf_keras

import monolith_tf as mt


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


@pytest.mark.parametrize("name", ["max_to_keep", "every_epochs"])
def test_a_number_below_1_is_refused(make_row_model, tmp_path, name):
    with pytest.raises(
        ValueError, match=f"{name} of at least 1. Received: {name}=0"
    ):
        mt.callbacks.Checkpoints(make_row_model()[0], tmp_path, **{name: 0})


def test_a_model_that_is_not_compiled_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Call model.compile first"):
        mt.callbacks.Checkpoints(tf_keras.Sequential(), tmp_path)


@pytest.fixture
def saved_twice(make_row_model, fit, tmp_path):
    """A directory with checkpoints of the epochs 1 and 2."""
    model, _ = make_row_model()
    fit(model, 2, mt.callbacks.Checkpoints(model, tmp_path))
    return tmp_path


def test_a_damaged_latest_checkpoint_gives_way_to_the_one_before(
    make_row_model, saved_twice
):
    for path in saved_twice.glob("ckpt-2.data-*"):
        path.write_bytes(b"")
    model, table = make_row_model()
    checkpoints = mt.callbacks.Checkpoints(model, saved_twice)
    with pytest.warns(RuntimeWarning, match=r"(?s)ckpt-2: .+ from .*ckpt-1\."):
        assert checkpoints.restore() == 1
    assert float(table.lookup([7])[0, 0]) == -2.0
    # The number of the damaged one is not used again.
    assert checkpoints.save(2).endswith("ckpt-3")
    assert mt.callbacks.Checkpoints(model, saved_twice).restore() == 2


@pytest.mark.parametrize("content", [None, b"", b"\xff\x00", b"model_chec"])
def test_a_damaged_state_file_costs_no_epoch(
    make_row_model, saved_twice, content
):
    state = saved_twice / "checkpoint"
    state.unlink() if content is None else state.write_bytes(content)
    model, _ = make_row_model()
    checkpoints = mt.callbacks.Checkpoints(model, saved_twice)
    with pytest.warns(RuntimeWarning, match="resumes from .*ckpt-2"):
        assert checkpoints.restore() == 2


def test_it_begins_at_nothing_beside_damaged_files_only_if_told_to(
    make_row_model, saved_twice
):
    for path in saved_twice.glob("*.index"):
        path.write_bytes(b"")
    model, _ = make_row_model()
    checkpoints = mt.callbacks.Checkpoints(model, saved_twice)
    with pytest.raises(mt.errors.CheckpointError, match="is whole"):
        checkpoints.restore()
    with pytest.raises(mt.errors.CheckpointError, match="is whole"):
        checkpoints.save(1)
    with pytest.warns(RuntimeWarning, match="allow_fresh"):
        assert checkpoints.restore(allow_fresh=True) == 0
    assert checkpoints.save(1).endswith("ckpt-3")
    assert mt.callbacks.Checkpoints(model, saved_twice).restore() == 1


def test_checkpoints_of_killed_saves_are_the_first_to_go(
    make_row_model, saved_twice
):
    # Not named yet when the process was killed.
    for path in saved_twice.glob("ckpt-2.*"):
        (saved_twice / path.name.replace("-2.", "-3.")).write_bytes(
            path.read_bytes()
        )
    (saved_twice / "ckpt-4_temp").mkdir()
    model, _ = make_row_model()
    checkpoints = mt.callbacks.Checkpoints(model, saved_twice)
    assert checkpoints.restore() == 2
    assert checkpoints.save(3).endswith("ckpt-4")
    kept = sorted(path.name for path in saved_twice.glob("*.index"))
    assert kept == ["ckpt-1.index", "ckpt-2.index", "ckpt-4.index"]
    assert not (saved_twice / "ckpt-4_temp").exists()
