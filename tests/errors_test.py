"""Errors in logs."""

import threading

import pytest
import tensorflow as tf

from monolith_tf.errors import in_one_line


def test_an_op_that_fails_on_another_thread_is_said_by_its_message():
    @tf.function
    def fail(number):
        return tf.debugging.check_numerics(number, "no number came")

    found = []

    def run():
        try:
            fail(tf.constant(float("nan")))
        except tf.errors.InvalidArgumentError as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    (error,) = found
    assert "threading.py" in str(error)
    assert in_one_line(error).startswith("InvalidArgumentError: no number came")


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
            # As TensorFlow 2.16 says where the op was made.
            tf.errors.OutOfRangeError(
                None,
                None,
                "Graph execution error:\n\n"
                "Detected at node MonolithTakeDelta defined at (most recent "
                "call last):\n"
                '  File "/usr/lib/python3.11/threading.py", line 1002, in '
                "_bootstrap\n\n"
                '  File "<string>", line 432, in monolith_take_delta\n\n'
                "no cut is left\n\t [[{{node MonolithTakeDelta}}]] "
                "[Op:__inference_run_56]",
            ),
            "OutOfRangeError: no cut is left",
        ),
        (
            # With the source code, and of two ops.
            tf.errors.OutOfRangeError(
                None,
                None,
                "Graph execution error:\n\n"
                "Detected at node 'a' defined at (most recent call last):\n"
                '    File "/usr/lib/threading.py", line 1002, in _bootstrap\n'
                "      self._bootstrap_inner()\n"
                '    File "b.py", line 9, in <module>\n'
                "      f(x)\n"
                "Node: 'a'\n"
                "Detected at node 'a' defined at (most recent call last):\n"
                '    File "b.py", line 9, in <module>\n'
                "      f(x)\n"
                "Node: 'a'\n"
                "1 root error(s) found.\n"
                "  (0) OUT_OF_RANGE:  no cut is left\n\t [[{{node a}}]]",
            ),
            "OutOfRangeError: no cut is left",
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
