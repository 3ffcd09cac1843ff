"""A parameter server is killed with -9 and comes back with nothing."""

import pytest


@pytest.fixture(scope="module")
def report(cluster_run):
    """Results before, while and after the server was away."""
    return cluster_run.report("failure")


def test_rows_are_read_while_both_servers_live(report):
    assert report["before"] == [{"value": [1.0] * 20}] * 2


@pytest.mark.parametrize("reader", [0, 1], ids=["worker", "chief"])
def test_a_lookup_fails_while_the_server_is_away(report, reader):
    assert report["away"][reader]["error"] == "UnavailableError"
    assert "/job:ps/replica:0/task:1" in report["away"][reader]["message"]


@pytest.mark.parametrize("reader", [0, 1], ids=["worker", "chief"])
def test_a_lookup_fails_when_the_server_is_back(report, reader):
    # TensorFlow's runtime refuses first: the server does not know the client.
    assert report["back"][reader]["error"] in (
        "AbortedError",
        "UnavailableError",
        "FailedPreconditionError",
    )


def test_the_rows_of_the_other_server_are_still_there(report):
    rows = report["other_server"]["value"]
    assert len(rows) > 5
    assert rows == [[1.0]] * len(rows)


@pytest.mark.parametrize("what", ["connected", "connected_apply"])
def test_the_new_server_refuses_by_the_names_of_table_set_and_server(
    report, what
):
    assert report[what]["error"] == "FailedPreconditionError"
    message = report[what]["message"]
    assert f"Table set '{report['table_set']}' does not exist" in message
    assert "on server /job:ps/replica:0/task:1" in message
    assert "restore the last checkpoint" in message
