"""Repeated requests of training leave nothing on servers."""

MOST_KIBIBYTES = 1.0


def test_a_server_keeps_nothing_of_what_is_asked(cluster_run):
    grown = cluster_run.report("server_memory")
    assert all(each < MOST_KIBIBYTES for each in grown["kept"].values()), grown
