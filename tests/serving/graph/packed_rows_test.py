"""Words of packed rows: computed by hand, by NumPy, and there and back."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

import monolith_tf as mt
from monolith_tf.serving.graph.packed_rows import PackedRows


def bits(rows):
    return np.asarray(rows, np.float32).view(np.uint32)


@pytest.mark.parametrize(
    ("layout", "row", "words"),
    [
        ("float32[2]", [1.0, -0.0], [0x3F800000, 0x80000000]),
        ("bfloat16[3]", [1.0, -2.0, -0.0], [0xC0003F80, 0x00008000]),
        # The largest number, and the smallest: 2^-133.
        ("bfloat16[2]", [255 * 2.0**120, 2.0**-133], [0x00017F7F]),
        ("float16[3]", [1.0, 65504.0, -0.0], [0x7BFF3C00, 0x00008000]),
        # Subnormal: 2^-24 is 1, 2^-14 - 2^-24 is 1023.
        ("float16[2]", [-(2.0**-24), 2.0**-14 - 2.0**-24], [0x03FF8001]),
        ("int8(127.0)[5]", [1, -1, 127, -127, 0], [0x817FFF01, 0]),
        ("onebit(0.5)[4]", [0.5, -0.5, 0.5, 0.5], [0b1101]),
        ("onebit(0.5)[33]", [0.5] * 33, [0xFFFFFFFF, 1]),
        ("onebit(0.5)[33]", [-0.5] * 32 + [0.5], [0, 1]),
        # Each segment starts with a word of its own.
        (
            "int8(127.0)[1] float32[1] onebit(2.0)[1] float16[1]",
            [3, 1.5, 2.0, 1.0],
            [3, 0x3FC00000, 1, 0x3C00],
        ),
    ],
)
def test_words_that_were_computed_by_hand(layout, row, words):
    packed = PackedRows(layout)
    rows = np.array([row], np.float32)
    found = packed.pack(rows).numpy().view(np.uint32)
    assert [hex(word) for word in found[0]] == [hex(word) for word in words]
    assert packed.width == len(words)
    assert packed.unpack(packed.pack(rows)).numpy().tobytes() == rows.tobytes()
    assert packed.fits(rows).numpy().all()


def numpy_rows(kind, words, dim):
    """The floats of words, by NumPy."""
    raw = np.ascontiguousarray(words).view(np.uint8)
    if kind == "bfloat16":
        halves = raw.view(np.uint16).astype(np.uint32) << 16
        return halves.view(np.float32)[:, :dim]
    if kind == "float16":
        return raw.view(np.float16).astype(np.float32)[:, :dim]
    if kind == "int8":
        step = np.float32(0.3) / np.float32(127)
        return (raw.view(np.int8).astype(np.float32) * step)[:, :dim]
    signs = np.unpackbits(raw, axis=1, bitorder="little")[:, :dim]
    return np.where(signs == 1, np.float32(0.3), np.float32(-0.3))


@pytest.mark.parametrize(
    ("layout", "codes_of_a_word"),
    [("bfloat16[8]", 2), ("float16[8]", 2), ("int8(0.3)[13]", 4)],
)
@pytest.mark.parametrize("traced", [False, True])
def test_every_code_is_a_number_that_comes_back(
    layout, codes_of_a_word, traced
):
    packed = PackedRows(layout)
    if codes_of_a_word == 2:
        codes = np.arange(1 << 16, dtype=np.uint16)
        is_nan = np.isnan(numpy_rows(layout[:-3], codes[:, None], 1)[:, 0])
        codes = codes[~is_nan | (codes & 0x7FFF == 0x7E00)]
        codes = codes[: len(codes) // 8 * 8].reshape(-1, 8)
    else:
        codes = np.arange(-127, 128, dtype=np.int8)
        codes = np.stack([np.resize(np.roll(codes, k), 16) for k in range(255)])
        codes[:, 13:] = 0
    words = codes.view(np.int32)

    def there_and_back(words):
        rows = packed.unpack(words)
        return rows, packed.pack(rows), packed.fits(rows)

    call = tf.function(there_and_back) if traced else there_and_back
    rows, again, fits = call(tf.constant(words))
    kind = layout.partition("(")[0].partition("[")[0]
    expected = numpy_rows(kind, words, packed.dim)
    np.testing.assert_array_equal(bits(rows), bits(expected))
    np.testing.assert_array_equal(again, words)
    assert fits.numpy().all()


NANS = np.array(
    [0x7FC00000, 0xFFC00000, 0x7F800001, 0x7FC01234, 0xFFFFFFFF], np.uint32
).view(np.float32)


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_nan_of_halves_stays_nan(kind):
    packed = PackedRows(f"{kind}[5]")
    words = packed.pack(NANS[None])
    found = packed.unpack(words).numpy()
    assert np.isnan(found).all()
    assert packed.fits(NANS[None]).numpy().all()
    # These two are what a table stores.
    np.testing.assert_array_equal(bits(found)[0, :2], bits(NANS)[:2])
    codes = words.numpy().view(np.uint16)[0, :2]
    quiet = {"bfloat16": 0x7FC0, "float16": 0x7E00}[kind]
    assert codes.tolist() == [quiet, quiet | 0x8000]


@pytest.mark.parametrize(
    ("layout", "weights"),
    [
        ("bfloat16[1]", [1.0 + 2.0**-8, 1e-45, 3.4e38, 0.1]),
        ("float16[1]", [1.0 + 2.0**-11, 2.0**-25, 65520.0, 1e30, 1e-45, 0.1]),
        ("int8(127.0)[1]", [0.5, -0.0, 128, -128, np.nan, np.inf, 1e-45, 1e30]),
        ("onebit(0.5)[1]", [0.0, -0.0, 0.25, 1.0, np.nan, -np.inf]),
    ],
)
def test_what_cannot_be_kept_does_not_fit(layout, weights):
    rows = np.array(weights, np.float32)[:, None]
    assert not PackedRows(layout).fits(rows).numpy().any()


def test_rows_of_floats_are_the_floats_themselves():
    packed = PackedRows("float32[2] float32[1]")
    assert packed.dtype == tf.float32
    rows = np.append(NANS, np.float32(-0.0)).reshape(2, 3)
    assert packed.pack(rows).numpy().tobytes() == rows.tobytes()
    assert packed.unpack(rows).numpy().tobytes() == rows.tobytes()
    assert packed.fits(rows).numpy().all()


def test_floats_beside_other_segments_keep_every_bit():
    packed = PackedRows("float32[5] bfloat16[1]")
    rows = np.append(NANS, np.float32(-0.0))[None]
    found = packed.unpack(packed.pack(rows)).numpy()
    np.testing.assert_array_equal(bits(found), bits(rows))


def test_no_rows_pack_into_no_words():
    packed = PackedRows("int8(0.5)[5] onebit(0.5)[33]")
    words = packed.pack(np.zeros([0, 38], np.float32))
    assert words.shape == [0, 4]
    assert packed.unpack(words).shape == [0, 38]
    assert packed.fits(np.zeros([0, 38], np.float32)).shape == [0, 38]


KINDS = {
    "float32": st.integers(0, 2**32 - 1),
    "bfloat16": st.integers(0, 2**16 - 1),
    "float16": st.integers(0, 2**16 - 1),
    "int8": st.integers(-127, 127),
    "onebit": st.booleans(),
}
NUMBERS = st.floats(2.0**-99, 2.0**99, width=32)


@st.composite
def packed_words(draw):
    """A layout, words of it with all unused bits zero, and its weights."""
    parts, words, rows = [], [], []
    num_rows = draw(st.integers(1, 4))
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(sorted(KINDS)))
        dim = draw(st.integers(1, 40))
        codes = np.array(
            [
                draw(st.lists(KINDS[kind], min_size=dim, max_size=dim))
                for _ in range(num_rows)
            ]
        )
        number = np.float32(draw(NUMBERS))
        if kind == "float32":
            raw = codes.astype(np.uint32)
            rows.append(raw.view(np.float32))
        elif kind == "onebit":
            raw = np.packbits(codes, axis=1, bitorder="little")
            rows.append(np.where(codes, number, -number))
        elif kind == "int8":
            raw = codes.astype(np.int8)
            rows.append(raw.astype(np.float32) * (number / np.float32(127)))
        else:
            # The NaN of a table, in place of all others.
            size = codes & 0x7FFF
            largest, nan = {
                "bfloat16": (0x7F80, 0x7FC0),
                "float16": (0x7C00, 0x7E00),
            }[kind]
            codes = np.where(size > largest, codes & 0x8000 | nan, codes)
            raw = codes.astype(np.uint16)
            if kind == "float16":
                rows.append(raw.view(np.float16).astype(np.float32))
            else:
                rows.append((raw.astype(np.uint32) << 16).view(np.float32))
        raw = raw.view(np.uint8)
        raw = np.pad(raw, [(0, 0), (0, -raw.shape[1] % 4)])
        words.append(raw.view(np.int32))
        parameter = f"({float(number)!r})" if kind in ("int8", "onebit") else ""
        parts.append(f"{kind}{parameter}[{dim}]")
    rows = np.concatenate(rows, axis=1).astype(np.float32)
    return " ".join(parts), np.concatenate(words, axis=1), rows


@pytest.mark.slow
@settings(max_examples=150)
@given(packed_words())
def test_what_fits_is_the_same_when_packed_and_unpacked(case):
    layout, words, rows = case
    packed = PackedRows(layout)
    assert (packed.dim, packed.width) == (rows.shape[1], words.shape[1])
    if packed.dtype == tf.float32:
        words = words.view(np.float32)
    found = packed.unpack(words).numpy()
    np.testing.assert_array_equal(bits(found), bits(rows))
    assert packed.pack(rows).numpy().tobytes() == words.tobytes()
    assert packed.fits(rows).numpy().all()


def test_a_config_says_how_rows_are_kept():
    segments = [
        mt.Segment(2),
        mt.Segment(3, precision=mt.precisions.BFloat16()),
        mt.Segment(4, precision=mt.precisions.Float16()),
        mt.Segment(5, precision=mt.precisions.Int8(0.1)),
        mt.Segment(6, precision=mt.precisions.OneBit(1e-30, 10)),
        mt.Segment(7, precision=mt.precisions.OneBit(0.5, 11)),
    ]
    config = mt.TableConfig("table", segments=segments)
    packed = PackedRows.of(config, step=10)
    assert packed.layout == (
        "float32[2] bfloat16[3] float16[4] int8(0.1)[5] onebit(1e-30)[6] "
        "float32[7]"
    )
    assert packed.dim == config.dim
    assert packed.width == 2 + 2 + 2 + 2 + 1 + 7


def test_annealing_is_over_at_the_step_that_the_core_takes():
    # 2^24 + 1 is 2^24 in float32.
    precision = mt.precisions.OneBit(0.5, 2**24 + 1)
    config = mt.TableConfig("table", dim=3, precision=precision)
    assert PackedRows.of(config, 2**24 - 1).layout == "float32[3]"
    assert PackedRows.of(config, 2**24).layout == "onebit(0.5)[3]"


@pytest.mark.parametrize(
    "layout",
    [
        "",
        "float32",
        "float32[0]",
        "float32[2]  float32[2]",
        "float32(1.0)[2]",
        "int8[2]",
        "int8(x)[2]",
        "int8(-1.0)[2]",
        "onebit(inf)[2]",
        "onebit(nan)[2]",
        "int4(0.5)[2]",
        "float32[2] ",
        "float32[2]\n",
    ],
)
def test_a_layout_of_another_form_is_refused(layout):
    with pytest.raises(ValueError, match=re.escape(f"in {layout!r}. Read it")):
        PackedRows(layout)
