"""Keras models over ids that nobody counted in advance.

Rows live in collisionless tables on parameter servers; training runs in batch
or on a stream; changed rows flow to TensorFlow Serving while it runs.

>>> import monolith_tf as mt
>>> config = mt.TableConfig("movie", dim=16)
>>> layer = mt.layers.DynamicEmbedding(config)

The public names load on first use. So `monolith_tf.serving.server` and the
command line run without Keras and without the op library, and TensorFlow is
not imported before somebody needs it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monolith_tf import callbacks
    from monolith_tf import errors
    from monolith_tf import ids
    from monolith_tf import initializers
    from monolith_tf import layers
    from monolith_tf import ops
    from monolith_tf import optimizers
    from monolith_tf import serving
    from monolith_tf.config import TableConfig
    from monolith_tf.errors import MonolithError
    from monolith_tf.feature import Feature
    from monolith_tf.table import Table
    from monolith_tf.table_set import TableSet

__version__ = "0.1.0"

__all__ = [
    "Feature",
    "MonolithError",
    "Table",
    "TableConfig",
    "TableSet",
    "callbacks",
    "errors",
    "ids",
    "initializers",
    "layers",
    "ops",
    "optimizers",
    "serving",
]

# Where the names live that are not modules themselves.
_HOME = {
    "Feature": "monolith_tf.feature",
    "MonolithError": "monolith_tf.errors",
    "Table": "monolith_tf.table",
    "TableConfig": "monolith_tf.config",
    "TableSet": "monolith_tf.table_set",
}
_WITHOUT_OPS = frozenset({"MonolithError", "errors", "serving"})


def __getattr__(name: str):
    """Loads a public name."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name not in _WITHOUT_OPS:
        # An op library that does not fit says so before anything else fails.
        importlib.import_module("monolith_tf.ops")
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
    else:
        value = importlib.import_module(f"{__name__}.{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Public names, loaded or not."""
    return sorted({*globals(), *__all__})
