"""Outputs of the signatures of a served model."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from monolith_tf.errors import ExportError
from monolith_tf.estimators.estimator_spec import DEFAULT_SERVING_SIGNATURE

_RESERVED = "monolith_"


@dataclasses.dataclass(frozen=True)
class PredictOutput:
    """A tensor, or a dict of tensors by name.

    Attributes:
        outputs: The dict; a single tensor is named "output".
    """

    outputs: Any

    def __post_init__(self):
        """Names a single tensor."""
        if not isinstance(self.outputs, dict):
            object.__setattr__(self, "outputs", {"output": self.outputs})


@dataclasses.dataclass(frozen=True)
class ClassificationOutput:
    """Scores and classes, as "scores" and "classes" of a Predict request.

    Attributes:
        scores: Float `[batch, classes]`, or None.
        classes: Strings of the same shape, or None.
    """

    scores: Any = None
    classes: Any = None

    def __post_init__(self):
        """Checks that one of them is given."""
        if self.scores is None and self.classes is None:
            raise ValueError(
                "ClassificationOutput needs scores or classes. Received: None "
                "and None."
            )

    @property
    def outputs(self) -> dict:
        """The tensors by name."""
        both = {"scores": self.scores, "classes": self.classes}
        return {
            name: value for name, value in both.items() if value is not None
        }


@dataclasses.dataclass(frozen=True)
class RegressionOutput:
    """A value, as "outputs" of a Predict request.

    Attributes:
        value: Float `[batch]` or `[batch, 1]`.
    """

    value: Any

    @property
    def outputs(self) -> dict:
        """The tensor by name."""
        return {"outputs": self.value}


def signatures_of(spec) -> dict[str, dict[str, tf.Tensor]]:
    """Returns the signatures of an `EstimatorSpec`, "serving_default" first.

    Args:
        spec: `EstimatorSpec` of a prediction. Without `export_outputs` its
            predictions are the default signature; a single entry of
            `export_outputs` is also the default signature.

    Raises:
        ExportError: Several outputs lack the default one, or a name is
            reserved.
    """
    named = spec.export_outputs or {DEFAULT_SERVING_SIGNATURE: spec.predictions}
    found = {}
    for name, chosen in named.items():
        if name.startswith(_RESERVED):
            raise ExportError(
                f"Names of export_outputs must not begin with {_RESERVED!r}, "
                "which is reserved for the control signatures. Received: "
                f"{name!r}. Choose another."
            )
        outputs = getattr(chosen, "outputs", chosen)
        if not isinstance(outputs, dict):
            outputs = {"output": outputs}
        found[name] = dict(outputs)
    if DEFAULT_SERVING_SIGNATURE not in found:
        if len(found) > 1:
            raise ExportError(
                f"One of several export_outputs must be named "
                f"{DEFAULT_SERVING_SIGNATURE!r}, for requests without a "
                f"signature name. Received: {sorted(found)}."
            )
        (found[DEFAULT_SERVING_SIGNATURE],) = found.values()
    default = found.pop(DEFAULT_SERVING_SIGNATURE)
    return {DEFAULT_SERVING_SIGNATURE: default, **found}
