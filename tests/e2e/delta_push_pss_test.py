"""The callback under ParameterServerStrategy, with separate processes."""


def test_after_fit_on_parameter_servers_the_server_equals_the_model(
    cluster_run,
):
    # The program compares rows and variables bit for bit.
    found = cluster_run.report("delta_push")
    assert found["metrics"]["deltas"] > 0
    assert found["metrics"]["resyncs"] == 0
    assert "delta pusher" not in found["threads"]
