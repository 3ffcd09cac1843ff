"""One input of a model, and the tensors that a request brings for it."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from monolith_tf import ids as ids_module

PADDED = "padded"
ROW_SPLITS = "row_splits"


@dataclasses.dataclass(frozen=True)
class FeatureInput:
    """How a feature travels in a request.

    Attributes:
        name: Name in the request.
        spec: What the model takes: `tf.TensorSpec`, `tf.RaggedTensorSpec` or
            `tf.SparseTensorSpec`.
        ragged: "padded" or "row_splits", how rows of different lengths travel.
        padding_id: Id that fills padded rows up. Strings are filled with "".
        is_string: Whether strings travel and are hashed to ids in the graph.
    """

    name: str
    spec: tf.TypeSpec
    ragged: str = PADDED
    padding_id: int | None = None
    is_string: bool = False

    def __post_init__(self):
        """Checks that a request can carry the feature."""
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
        """Whether rows have different lengths."""
        return not isinstance(self.spec, tf.TensorSpec)

    @property
    def is_text(self) -> bool:
        """Whether strings travel: of the model itself, or to be hashed."""
        return self.is_string or self.spec.dtype == tf.string

    @property
    def padding(self) -> int | str | None:
        """Value that fills up padded rows, None where there is none."""
        return "" if self.is_text else self.padding_id

    @property
    def request_specs(self) -> dict[str, tf.TensorSpec]:
        """What a request brings, by name."""
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
        """What the model takes, of what a request brought.

        Args:
            request: Tensors by the names of `request_specs`.

        Returns:
            Tensor, `tf.RaggedTensor` or `tf.SparseTensor`.
        """
        if not self.varies:
            value = request[self.name]
        elif self.ragged == PADDED:
            # Only what trails is padding: between ids it keeps its position.
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
        """What the export record says of the feature."""
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
