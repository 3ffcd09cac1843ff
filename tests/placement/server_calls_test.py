"""Functions that are made once, and what they bring."""

import numpy as np
import pytest
import tensorflow as tf

from monolith_tf.placement.server_calls import ServerCalls


def test_a_function_is_made_once_and_runs_every_time():
    calls, traced = ServerCalls(), []
    variable = tf.Variable(1, dtype=tf.int64)

    def function(first, second):
        traced.append(1)
        return {"sum": first + second, "was": variable.assign_add(1)}

    for number in range(3):
        found = calls.call("add", "/device:CPU:0", function, number, 10)
        assert found["sum"].numpy() == number + 10
        assert found["was"].numpy() == number + 2
    assert len(traced) == 1


def test_each_key_has_a_function_of_its_own():
    calls = ServerCalls()
    for key in (("a", 0), ("a", 1)):
        (value,) = calls.call(key, None, lambda key=key: [tf.constant(key[1])])
        assert value.numpy() == key[1]


def test_many_functions_are_no_reason_to_warn(caplog):
    calls = ServerCalls()
    for key in range(20):
        calls.call(key, None, lambda: tf.zeros([]))
    assert not caplog.records


def test_numbers_are_whole_int64():
    largest = np.iinfo(np.int64).max
    found = ServerCalls().call("same", None, lambda one: one, largest)
    assert found.dtype == tf.int64
    assert found.numpy() == largest


def test_an_error_of_the_function_comes_through_and_spoils_nothing():
    calls = ServerCalls()

    def check(number):
        with tf.control_dependencies([tf.debugging.assert_positive(number)]):
            return tf.identity(number)

    with pytest.raises(tf.errors.InvalidArgumentError):
        calls.call("check", None, check, -1)
    assert calls.call("check", None, check, 1).numpy() == 1
