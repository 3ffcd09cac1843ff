import numpy as np
import pytest
import tensorflow as tf

from monolith_tf import ops

FORMATS = {"bfloat16": tf.bfloat16, "float16": tf.float16}


@pytest.fixture(scope="module")
def floats():
    random = np.random.default_rng(3)
    return (
        random.normal(size=200_001) * 10.0 ** random.integers(-9, 5, 200_001)
    ).astype(np.float32)


@pytest.mark.parametrize("wire_format", FORMATS)
def test_the_same_as_a_cast_of_tensorflow(floats, wire_format):
    # Finite casts only: TensorFlow's go to infinity, ours to the largest.
    kept = floats[np.abs(floats) < 65504]
    words = ops.narrow(kept, wire_format=wire_format)
    assert words.dtype == tf.uint16
    back = ops.widen(words, wire_format=wire_format).numpy()
    cast = tf.cast(tf.cast(kept, FORMATS[wire_format]), tf.float32).numpy()
    np.testing.assert_array_equal(back, cast)


@pytest.mark.parametrize("wire_format", FORMATS)
def test_the_first_floats_may_be_exact(floats, wire_format):
    words = ops.narrow(floats, wire_format=wire_format, num_exact=3)
    assert words.shape == [len(floats) + 3]
    back = ops.widen(words, wire_format=wire_format, num_exact=3).numpy()
    np.testing.assert_array_equal(back[:3], floats[:3])
    np.testing.assert_array_equal(
        back[3:],
        ops.widen(
            ops.narrow(floats[3:], wire_format=wire_format),
            wire_format=wire_format,
        ),
    )


def test_large_floats_stay_finite_and_infinities_stay():
    numbers = tf.constant([7e4, -1e30, np.inf, np.nan])
    back = ops.widen(
        ops.narrow(numbers, wire_format="float16"), wire_format="float16"
    )
    np.testing.assert_array_equal(back, [65504, -65504, np.inf, np.nan])


def test_no_floats():
    words = ops.narrow(tf.zeros([0]), wire_format="bfloat16")
    assert ops.widen(words, wire_format="bfloat16").shape == [0]


def test_shapes_are_known_in_graphs():
    @tf.function
    def shapes(floats):
        words = ops.narrow(floats, wire_format="bfloat16", num_exact=2)
        back = ops.widen(words, wire_format="bfloat16", num_exact=2)
        assert (words.shape, back.shape) == ([7], [5])
        return back

    shapes(tf.zeros([5]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ops.narrow(tf.zeros([2, 3]), wire_format="bfloat16"),
            "rank 1|must be a vector",
        ),
        (
            lambda: ops.narrow(
                tf.zeros([1]), wire_format="bfloat16", num_exact=2
            ),
            "at least 2",
        ),
        (
            lambda: ops.widen(
                tf.zeros([3], tf.uint16), wire_format="float16", num_exact=2
            ),
            "at least 4",
        ),
        (lambda: ops.narrow(tf.zeros([2]), wire_format="float8"), "float8"),
        (
            lambda: ops.narrow(
                tf.zeros([2]), wire_format="float16", num_exact=-1
            ),
            "num_exact",
        ),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        make()


def test_a_wrong_rank_is_refused_when_the_graph_is_built():
    with pytest.raises(ValueError, match="rank 1"):
        tf.function(
            lambda: ops.widen(
                tf.zeros([1, 1], tf.uint16), wire_format="bfloat16"
            )
        )()
