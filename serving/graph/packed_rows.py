"""Rows in the precision of their table, as 32-bit words, in stock ops.

A hash table of stock TensorFlow has 32-bit numbers of one dtype. Each segment
of a row has its own words, whose unused bits are zero:

    kind         words of dim weights   a word, lowest bits first
    float32      dim                    a float
    bfloat16     ceil(dim / 2)          two codes
    float16      ceil(dim / 2)          two codes
    int8         ceil(dim / 4)          four levels of -127 to 127
    onebit       ceil(dim / 32)         32 signs: 1 for the amplitude, 0 for its
                                        negative

`OneBit` has two values from step `anneal_steps` on; before it, a segment is
stored as float32.
"""

from __future__ import annotations

import dataclasses
import re
from typing import ClassVar

import numpy as np
import tensorflow as tf

_SEGMENT = re.compile(r"(\w+)(?:\(([^()\s]+)\))?\[([1-9][0-9]*)\]")
_SIGNS = (1 << np.arange(32)).astype(np.uint32).view(np.int32)


class PackedRows:
    """The packed layout of a table's rows: packs and unpacks them.

    It has no state: `pack`, `unpack` and `fits` run eagerly, on tensors and
    arrays, and in any graph.

    Args:
        layout: Per segment the kind, the `range` of int8 or the amplitude of
            onebit in parentheses, and the number of weights in brackets; one
            space between segments.

    Raises:
        ValueError: The layout is not valid, or has an unknown kind.

    Example:
    >>> rows = PackedRows("bfloat16[3] onebit(0.5)[2]")
    >>> rows.dim, rows.width, rows.dtype.name
    (5, 3, 'int32')
    >>> words = rows.pack([[1.0, -2.0, 0.5, -0.5, 0.5]])
    >>> [f"{word:08x}" for word in words.numpy().view(np.uint32)[0]]
    ['c0003f80', '00003f00', '00000002']
    >>> rows.unpack(words).numpy()
    array([[ 1. , -2. ,  0.5, -0.5,  0.5]], dtype=float32)
    """

    def __init__(self, layout: str):
        """Parses the layout."""
        self.layout = layout
        self._segments = [_segment(layout, part) for part in layout.split(" ")]
        self._dims = [segment.dim for segment in self._segments]
        self._widths = [segment.width for segment in self._segments]

    @classmethod
    def of(cls, config, step: int) -> PackedRows:
        """Returns the packed layout of a table from a step on.

        Args:
            config: `monolith_tf.TableConfig`; only its segments are used.
            step: Global step that all rows have reached.

        Example:
        >>> import monolith_tf as mt
        >>> config = mt.TableConfig(
        ...     "movie", dim=64, precision=mt.precisions.OneBit(0.5, 100))
        >>> PackedRows.of(config, step=99).layout
        'float32[64]'
        >>> PackedRows.of(config, step=100).layout
        'onebit(0.5)[64]'
        """
        return cls(" ".join(_layout(s, step) for s in config.segments))

    @property
    def dim(self) -> int:
        """Length of a row, in weights."""
        return sum(self._dims)

    @property
    def width(self) -> int:
        """Length of a packed row, in words."""
        return sum(self._widths)

    @property
    def dtype(self) -> tf.DType:
        """int32, or float32 if each word is a weight."""
        is_float = all(isinstance(s, _Float32) for s in self._segments)
        return tf.float32 if is_float else tf.int32

    def pack(self, rows) -> tf.Tensor:
        """Packs rows; the values of rows that do not fit change.

        Args:
            rows: float32 `[n, dim]`.

        Returns:
            `dtype` `[n, width]`.
        """
        rows = tf.convert_to_tensor(rows, tf.float32)
        if self.dtype == tf.float32:
            return rows
        return self._by_segment("pack", rows, self._dims, self.width)

    def unpack(self, words) -> tf.Tensor:
        """Unpacks rows, to the same bits if they fit.

        Args:
            words: `dtype` `[n, width]`.

        Returns:
            float32 `[n, dim]`.
        """
        words = tf.convert_to_tensor(words, self.dtype)
        if self.dtype == tf.float32:
            return words
        return self._by_segment("unpack", words, self._widths, self.dim)

    def fits(self, rows) -> tf.Tensor:
        """Returns which weights packing and unpacking preserves.

        All bits are compared: int8 has no -0. All NaNs are equal.

        Args:
            rows: float32 `[n, dim]`.

        Returns:
            bool `[n, dim]`.

        Example:
        >>> PackedRows("int8(127.0)[3]").fits([[-127.0, 0.5, -0.0]]).numpy()
        array([[ True, False, False]])
        """
        rows = tf.convert_to_tensor(rows, tf.float32)
        if self.dtype == tf.float32:
            return tf.fill(tf.shape(rows), True)
        found = self.unpack(self.pack(rows))
        same = tf.equal(tf.bitcast(found, tf.int32), tf.bitcast(rows, tf.int32))
        return same | (tf.math.is_nan(found) & tf.math.is_nan(rows))

    def _by_segment(self, way: str, rows, lengths, length: int) -> tf.Tensor:
        parts = [rows]
        if len(lengths) > 1:
            parts = tf.split(rows, lengths, axis=1)
        parts = [
            getattr(segment, way)(part)
            for segment, part in zip(self._segments, parts, strict=True)
        ]
        rows = parts[0] if len(parts) == 1 else tf.concat(parts, axis=1)
        return tf.ensure_shape(rows, [None, length])


@dataclasses.dataclass(frozen=True)
class _Segment:
    """`dim` weights, in `width` words of `per_word` each."""

    dim: int
    per_word: ClassVar[int] = 1

    @property
    def width(self) -> int:
        return -(-self.dim // self.per_word)

    def _in_words(self, codes: tf.Tensor) -> tf.Tensor:
        """Codes `[n, dim]` as `[n, width, per_word]`, padded with zeros."""
        unused = self.width * self.per_word - self.dim
        if unused:
            codes = tf.pad(codes, [[0, 0], [0, unused]])
        return tf.reshape(codes, [-1, self.width, self.per_word])

    def _in_row(self, codes: tf.Tensor) -> tf.Tensor:
        """Codes `[n, width, per_word]` as `[n, dim]`."""
        codes = tf.reshape(codes, [-1, self.width * self.per_word])
        return codes[:, : self.dim]


@dataclasses.dataclass(frozen=True)
class _Float32(_Segment):
    def pack(self, weights: tf.Tensor) -> tf.Tensor:
        return tf.bitcast(weights, tf.int32)

    def unpack(self, words: tf.Tensor) -> tf.Tensor:
        return tf.bitcast(words, tf.float32)


@dataclasses.dataclass(frozen=True)
class _Bfloat16(_Segment):
    per_word: ClassVar[int] = 2

    def pack(self, weights: tf.Tensor) -> tf.Tensor:
        codes = tf.bitcast(weights, tf.uint16)[..., 1]
        # The upper half of a NaN may equal that of an infinity.
        is_nan = tf.cast(tf.math.is_nan(weights), tf.uint16)
        codes = tf.bitwise.bitwise_or(codes, is_nan * 0x0040)
        return tf.bitcast(self._in_words(codes), tf.int32)

    def unpack(self, words: tf.Tensor) -> tf.Tensor:
        codes = self._in_row(tf.bitcast(words, tf.bfloat16))
        return tf.cast(codes, tf.float32)


@dataclasses.dataclass(frozen=True)
class _Float16(_Segment):
    per_word: ClassVar[int] = 2

    def pack(self, weights: tf.Tensor) -> tf.Tensor:
        codes = tf.cast(weights, tf.float16)
        return tf.bitcast(self._in_words(codes), tf.int32)

    def unpack(self, words: tf.Tensor) -> tf.Tensor:
        codes = self._in_row(tf.bitcast(words, tf.float16))
        return tf.cast(codes, tf.float32)


@dataclasses.dataclass(frozen=True)
class _Int8(_Segment):
    range: float
    per_word: ClassVar[int] = 4

    @property
    def _step(self) -> np.float32:
        return np.float32(self.range) / np.float32(127)

    def pack(self, weights: tf.Tensor) -> tf.Tensor:
        # The division of a level is off by far less than a half.
        levels = tf.clip_by_value(tf.round(weights / self._step), -127, 127)
        levels = tf.where(
            tf.math.is_nan(weights), tf.zeros_like(levels), levels
        )
        codes = tf.cast(levels, tf.int8)
        return tf.bitcast(self._in_words(codes), tf.int32)

    def unpack(self, words: tf.Tensor) -> tf.Tensor:
        levels = self._in_row(tf.bitcast(words, tf.int8))
        return tf.cast(levels, tf.float32) * self._step


@dataclasses.dataclass(frozen=True)
class _Onebit(_Segment):
    amplitude: float
    per_word: ClassVar[int] = 32

    def pack(self, weights: tf.Tensor) -> tf.Tensor:
        is_positive = self._in_words(tf.bitcast(weights, tf.int32) >= 0)
        return tf.reduce_sum(tf.where(is_positive, _SIGNS, 0), axis=-1)

    def unpack(self, words: tf.Tensor) -> tf.Tensor:
        bits = tf.bitwise.bitwise_and(words[:, :, tf.newaxis], _SIGNS)
        amplitude = np.float32(self.amplitude)
        return tf.where(
            self._in_row(tf.not_equal(bits, 0)), amplitude, -amplitude
        )


_PLAIN = {"float32": _Float32, "bfloat16": _Bfloat16, "float16": _Float16}
_OF_A_NUMBER = {"int8": _Int8, "onebit": _Onebit}


def _layout(segment, step: int) -> str:
    """Returns the layout of a segment of a table."""
    kind, parameters = segment.precision.kind, segment.precision.parameters
    if kind == "onebit":
        # As ops/cc/precision/onebit_precision.cc compares them.
        if step < float(np.float32(segment.precision.anneal_steps)):
            kind = "float32"
        parameters = parameters[:1]
    if kind in _PLAIN:
        return f"{kind}[{segment.dim}]"
    (number,) = parameters
    return f"{kind}({number!r})[{segment.dim}]"


def _segment(layout: str, part: str) -> _Segment:
    match = _SEGMENT.fullmatch(part)
    if match:
        kind, parameter, dim = match.groups()
        if kind in _PLAIN and parameter is None:
            return _PLAIN[kind](int(dim))
        if kind in _OF_A_NUMBER and parameter is not None:
            number = _positive_number(parameter)
            if number is not None:
                return _OF_A_NUMBER[kind](int(dim), number)
    raise ValueError(
        "A layout of rows has segments like float32[8], bfloat16[8], "
        "float16[8], int8(0.5)[8] or onebit(0.5)[8]. Received: "
        f"{part!r} in {layout!r}. Read it with the version of monolith-tf that "
        "wrote it."
    )


def _positive_number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 < number < float("inf") else None
