"""Restarts are counted per hour, not for life."""

from monolith_tf.cluster.restart_window import RestartWindow


class Clock:
    """A clock that a test sets."""

    seconds = 0.0

    def __call__(self):
        return self.seconds


def test_a_process_may_restart_as_often_as_the_limit_says():
    restarts = RestartWindow(limit=2)
    assert not restarts.is_exhausted("ps 0")
    assert restarts.add("ps 0") == 1
    assert not restarts.is_exhausted("ps 0")
    assert restarts.add("ps 0") == 2
    assert restarts.is_exhausted("ps 0")
    assert not restarts.is_exhausted("ps 1")


def test_a_limit_of_0_allows_no_restart():
    assert RestartWindow(limit=0).is_exhausted("ps 0")


def test_restarts_of_more_than_an_hour_ago_do_not_count():
    clock = Clock()
    restarts = RestartWindow(limit=2, clock=clock)
    restarts.add("ps 0")
    clock.seconds = 1800.0
    restarts.add("ps 0")
    clock.seconds = 3599.0
    assert restarts.is_exhausted("ps 0")
    clock.seconds = 3600.0
    assert not restarts.is_exhausted("ps 0")
    assert restarts.add("ps 0") == 2
    assert restarts.is_exhausted("ps 0")


def test_a_service_that_loses_a_server_twice_a_day_runs_for_years():
    clock = Clock()
    restarts = RestartWindow(limit=1, clock=clock)
    for day in range(2000):
        for hour in (3, 15):
            clock.seconds = 86400.0 * day + 3600.0 * hour
            assert not restarts.is_exhausted("ps 0")
            assert restarts.add("ps 0") == 1
