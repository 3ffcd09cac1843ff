"""Offsets of dense variables in the bytes that a delta carries."""

from __future__ import annotations

import pytest
import tensorflow as tf

from monolith_tf.serving.graph.dense_copy import DenseCopy


class Recorder:
    """Stands in for a variable: keeps what it is assigned."""

    def __init__(self, shape, dtype):
        self.shape, self.dtype = tf.TensorShape(shape), dtype
        self.value = None

    def assign(self, value, read_value):
        assert not read_value
        self.value = value


@pytest.mark.parametrize("num_bytes", [2**20, 2**24, 2**31, 2**62])
def test_variables_behind_many_bytes_are_found(num_bytes):
    dense = DenseCopy([], [])
    dense.copies = [
        Recorder([num_bytes - 3], tf.uint8),
        Recorder([5], tf.float32),
        Recorder([], tf.int64),
    ]
    # Traced only: the content would fill the memory.
    with tf.Graph().as_default() as graph:
        dense.assign(tf.compat.v1.placeholder(tf.uint8, [None]))
    slices = [
        [int(tf.get_static_value(bound)[0]) for bound in op.inputs[1:3]]
        for op in graph.get_operations()
        if op.type == "StridedSlice"
    ]
    end = num_bytes - 3
    assert slices == [[0, end], [end, end + 20], [end + 20, end + 28]]
    assert [copy.value.shape for copy in dense.copies] == [[end], [5], []]
