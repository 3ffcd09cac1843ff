"""The best model comes back with its rows."""

import pytest
import tf_keras

import monolith_tf as mt


class Scripted(tf_keras.callbacks.Callback):
    """Puts numbers in the place of a validation loss."""

    def __init__(self, numbers):
        super().__init__()
        self.numbers = numbers

    def on_epoch_end(self, epoch, logs=None):
        logs["val_loss"] = self.numbers[epoch]


@pytest.mark.parametrize(
    ("losses", "epochs_run", "best"),
    [
        ([3.0, 1.0, 2.0, 2.0, 0.0], 4, 2),  # stopped early
        ([3.0, 2.0, 1.0, 2.0], 4, 3),  # came to its end
        ([4.0, 3.0, 2.0, 1.0], 4, 4),
    ],
)
def test_rows_are_those_of_the_best_epoch(
    make_row_model, fit, tmp_path, losses, epochs_run, best
):
    model, table = make_row_model()
    history = fit(
        model,
        len(losses),
        Scripted(losses),
        mt.callbacks.EarlyStopping(tmp_path, patience=2),
    )
    assert len(history.history["val_loss"]) == epochs_run
    assert float(table.lookup([7])[0, 0]) == -2.0 * best
    assert int(model.optimizer.iterations) == 2 * best


def test_a_second_fit_forgets_the_best_of_the_first(
    make_row_model, fit, tmp_path
):
    model, table = make_row_model()
    stopping = mt.callbacks.EarlyStopping(tmp_path, patience=2)
    fit(model, 1, Scripted([0.0]), stopping)
    fit(model, 2, Scripted([9.0, 8.0]), stopping)
    assert float(table.lookup([7])[0, 0]) == -6.0


def test_restore_best_weights_is_refused(tmp_path):
    with pytest.raises(TypeError, match="leave restore_best_weights out"):
        mt.callbacks.EarlyStopping(tmp_path, restore_best_weights=False)
