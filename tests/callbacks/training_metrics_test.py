"""Training metrics for Prometheus."""

import urllib.request

import monolith_tf as mt
from monolith_tf.cluster import pick_free_ports


def test_speed_steps_and_rows_are_told(make_row_model, fit):
    model, _ = make_row_model()
    metrics = mt.callbacks.TrainingMetrics(examples_per_step=10)
    fit(model, 3, metrics)
    get = metrics.registry.get_sample_value
    assert get("monolith_training_steps") == 6
    assert get("monolith_table_num_rows", {"table": "movie"}) == 1
    assert get("monolith_updates_partial") == 0
    seconds = get("monolith_training_step_seconds")
    speed = get("monolith_training_examples_per_second")
    assert abs(speed * seconds - 10) < 1e-6
    assert get("monolith_training_loss") < 0
    # No coordinator takes part.
    assert get("monolith_training_steps_queued") == 0
    assert get("monolith_worker_failures_total") == 0


def test_they_are_served_where_the_environment_says(
    make_row_model, fit, monkeypatch
):
    (port,) = pick_free_ports(1)
    monkeypatch.setenv("MONOLITH_TF_METRICS_PORT", str(port))
    model, _ = make_row_model()
    fit(model, 1, mt.callbacks.TrainingMetrics(examples_per_step=1))
    with urllib.request.urlopen(f"http://localhost:{port}/metrics") as answer:
        assert b"monolith_training_steps 2.0" in answer.read()
