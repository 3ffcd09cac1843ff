"""Keras models over ids that nobody counted in advance.

Rows live in collisionless tables on parameter servers; training runs in batch
or on a stream; changed rows flow to TensorFlow Serving while it runs.

>>> import monolith_tf as mt
>>> config = mt.TableConfig("movie", dim=16)
>>> layer = mt.layers.DynamicEmbedding(config)
"""

# First: an op library that does not fit says so before anything else fails.
from monolith_tf import ops as ops  # isort: skip

from monolith_tf import errors
from monolith_tf import ids
from monolith_tf import initializers
from monolith_tf import layers
from monolith_tf import optimizers
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
]
