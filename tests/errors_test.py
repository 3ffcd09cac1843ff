"""What logs say of errors."""

import pytest
import tensorflow as tf

from monolith_tf.errors import in_one_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("a bad\nargument"), "ValueError: a bad"),
        (ValueError(), "ValueError"),
        (
            tf.errors.AbortedError(
                None,
                None,
                "Graph execution error:\n\n"
                "Detected at node Read defined at (most recent call last):\n"
                "<stack traces unavailable>\n"
                "Session 1 is not found.",
            ),
            "AbortedError: Session 1 is not found.",
        ),
        (
            tf.errors.UnavailableError(
                None,
                None,
                "Graph execution error:\n\n"
                "2 root error(s) found.\n"
                "  (0) UNAVAILABLE:  failed to connect to all addresses\n"
                "From remote target /job:ps/replica:0/task:1/device:CPU:0\n"
                "  (1) CANCELLED:  RecvFromRemoteAsync is cancelled.",
            ),
            "UnavailableError: failed to connect to all addresses (ps 1)",
        ),
        (
            tf.errors.UnavailableError(
                None, None, "Gone\nfrom /job:worker/replica:0/task:12"
            ),
            "UnavailableError: Gone (worker 12)",
        ),
        (
            tf.errors.UnavailableError(
                None, None, "Gone: /job:ps/replica:0/task:0"
            ),
            "UnavailableError: Gone: /job:ps/replica:0/task:0",
        ),
    ],
)
def test_an_error_is_said_in_one_line(error, line):
    assert in_one_line(error) == line
