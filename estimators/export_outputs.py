"""What a served model answers."""

from __future__ import annotations

import dataclasses
from typing import Any


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
