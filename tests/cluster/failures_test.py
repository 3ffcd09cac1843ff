"""Which errors mean that the cluster lost a process."""

import pytest
import tensorflow as tf

from monolith_tf.cluster.failures import is_cluster_failure
from monolith_tf.errors import DeliveryError

GONE = "failed to connect ... /job:ps/replica:0/task:1"


def error_of(kind, message=GONE):
    return getattr(tf.errors, kind)(None, None, message)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (error_of("UnavailableError"), True),
        (error_of("AbortedError"), True),
        (error_of("CancelledError"), True),
        (error_of("FailedPreconditionError"), True),
        (error_of("FailedPreconditionError", "not initialized"), False),
        (error_of("InvalidArgumentError", "an unknown device x"), True),
        (error_of("InvalidArgumentError", "a bad shape"), False),
        (error_of("OutOfRangeError"), False),
        (ValueError(GONE), False),
    ],
)
def test_errors_of_a_lost_process_are_told_from_others(error, expected):
    assert is_cluster_failure(error) is expected


def raised_from(cause):
    try:
        raise DeliveryError("Pushing deltas stopped.") from cause
    except DeliveryError as error:
        return error


def test_it_counts_whoever_reports_it():
    assert is_cluster_failure(raised_from(error_of("UnavailableError")))
    twice = raised_from(raised_from(error_of("UnavailableError")))
    assert is_cluster_failure(twice)
    assert not is_cluster_failure(raised_from(ValueError(GONE)))
    assert not is_cluster_failure(raised_from(None))


def test_a_circle_of_causes_ends():
    error = ValueError("a")
    error.__cause__ = DeliveryError("b")
    error.__cause__.__cause__ = error
    assert not is_cluster_failure(error)
