"""One input of a model, and its tensors in a request."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from monolith_tf import ids as ids_module

PADDED = "padded"
ROW_SPLITS = "row_splits"


@dataclasses.dataclass(frozen=True)
class FeatureInput:
    """The format of an input in a request.

    Attributes:
        name: Name in the request.
        spec: Spec in the model: `tf.TensorSpec`, `tf.RaggedTensorSpec` or
            `tf.SparseTensorSpec`.
        ragged: "padded" or "row_splits": the format of rows of different
            lengths.
        padding_id: Id that pads rows. Strings are padded with "".
        is_string: True if requests send strings, which the graph hashes to ids.
    """

    name: str
    spec: tf.TypeSpec
    ragged: str = PADDED
    padding_id: int | None = None
    is_string: bool = False

    def __post_init__(self):
        """Checks that requests support the input."""
        if self.is_string and self.spec.dtype != tf.int64:
            raise ValueError(
                f"string_features names {self.name!r}, whose ids are int64 in "
                f"the model to be hashed from strings. Received: "
                f"{self.spec.dtype.name}."
            )
        if not self.varies:
            return
        if self.spec.shape.rank != 2 or self._ragged_rank != 1:
            raise ValueError(
                f"Feature {self.name!r} can't be served: ragged and sparse "
                "inputs must have shape [batch, length]. Received: "
                f"{self.spec}. Serve the deeper feature as a dense one."
            )

    @property
    def varies(self) -> bool:
        """True if rows have different lengths."""
        return not isinstance(self.spec, tf.TensorSpec)

    @property
    def is_text(self) -> bool:
        """True if requests send strings, of the model or to be hashed."""
        return self.is_string or self.spec.dtype == tf.string

    @property
    def padding(self) -> int | str | None:
        """Value that pads rows, or None."""
        return "" if self.is_text else self.padding_id

    @property
    def request_specs(self) -> dict[str, tf.TensorSpec]:
        """Spec of each tensor in a request, by name."""
        dtype = tf.string if self.is_text else self.spec.dtype
        if not self.varies:
            shape = [None, *self.spec.shape.as_list()[1:]]
            return {self.name: tf.TensorSpec(shape, dtype)}
        if self.ragged == PADDED:
            return {self.name: tf.TensorSpec([None, None], dtype)}
        return {
            f"{self.name}:values": tf.TensorSpec([None], dtype),
            f"{self.name}:row_splits": tf.TensorSpec([None], tf.int64),
        }

    def read(self, request: dict[str, tf.Tensor]):
        """Converts the tensors of a request to the input of the model.

        Args:
            request: Tensors by the names of `request_specs`.

        Returns:
            Tensor, `tf.RaggedTensor` or `tf.SparseTensor`.
        """
        if not self.varies:
            value = request[self.name]
        elif self.ragged == PADDED:
            # Only trailing values are padding; others keep their position.
            value = tf.RaggedTensor.from_tensor(
                request[self.name], padding=self.padding
            )
        else:
            value = tf.RaggedTensor.from_row_splits(
                request[f"{self.name}:values"],
                request[f"{self.name}:row_splits"],
            )
        if self.is_string:
            value = ids_module.from_strings(value)
        if isinstance(self.spec, tf.SparseTensorSpec):
            return value.to_sparse()
        if self.varies:
            return value.with_row_splits_dtype(self.spec.row_splits_dtype)
        return value

    def describe(self) -> dict:
        """Returns the description of the input in the export record."""
        kind = "dense"
        if self.varies:
            kind = self.ragged
        record = {"kind": kind, "inputs": {}}
        for name, spec in self.request_specs.items():
            record["inputs"][name] = {
                "dtype": spec.dtype.name,
                "shape": spec.shape.as_list(),
            }
        if kind == PADDED:
            record["padding"] = self.padding
        return record

    @property
    def _ragged_rank(self) -> int:
        return getattr(self.spec, "ragged_rank", 1)
