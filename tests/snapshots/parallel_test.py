"""Calls of all servers at once."""

import threading

import pytest

from monolith_tf.snapshots.parallel import in_parallel


def test_all_calls_run_at_the_same_time():
    barrier = threading.Barrier(3)
    assert sorted(
        in_parallel(lambda i: barrier.wait() * 0 + i, [(1,), (2,), (3,)])
    ) == [1, 2, 3]


def test_no_call_gives_no_result():
    assert in_parallel(pow, []) == []


def test_the_first_error_comes_when_all_have_ended():
    ended = []

    def call(number):
        ended.append(number)
        if number != 1:
            raise ValueError(f"call {number}")

    with pytest.raises(ValueError, match="call 0"):
        in_parallel(call, [(0,), (1,), (2,)])
    assert sorted(ended) == [0, 1, 2]
