"""Embedding tables for Keras models with unbounded id vocabularies.

Rows live in tables without collisions, on parameter servers. While training
runs, the rows that changed flow to TensorFlow Serving.

>>> import monolith_tf as mt
>>> config = mt.TableConfig("movie", dim=16)
>>> layer = mt.layers.DynamicEmbedding(config)

Importing the package loads the op library: a parameter server that imports it
before it starts can run its ops, and a library that was built for another
TensorFlow says so at once. The public names load on first use: the command line
and the model server need no Keras. Layers and optimizers are registered with
each Keras as soon as it is loaded, so that saved models load.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monolith_tf import callbacks
    from monolith_tf import checkpoint
    from monolith_tf import cluster
    from monolith_tf import errors
    from monolith_tf import ids
    from monolith_tf import keras3
    from monolith_tf import layers
    from monolith_tf import metrics
    from monolith_tf import ops
    from monolith_tf import optimizers
    from monolith_tf import serving
    from monolith_tf import snapshots
    from monolith_tf.config import initializers
    from monolith_tf.config import precisions
    from monolith_tf.config.admission import Admission
    from monolith_tf.config.eviction import Eviction
    from monolith_tf.config.table_config import Segment
    from monolith_tf.config.table_config import TableConfig
    from monolith_tf.errors import MonolithError
    from monolith_tf.feature import FeatureConfig
    from monolith_tf.placement.table_set import TableSet
    from monolith_tf.step.event_time import event_time
    from monolith_tf.step.pipeline import pipelined
    from monolith_tf.step.request_id import request_id
    from monolith_tf.table import Table

if os.path.basename((getattr(sys, "argv", None) or [""])[0]) == "monolith-tf":
    # A command's own process: set before TensorFlow prints its start-up lines.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

importlib.import_module("monolith_tf.ops")

__version__ = "0.1.0"

__all__ = [
    "Admission",
    "Eviction",
    "FeatureConfig",
    "MonolithError",
    "Segment",
    "Table",
    "TableConfig",
    "TableSet",
    "callbacks",
    "checkpoint",
    "cluster",
    "errors",
    "event_time",
    "ids",
    "initializers",
    "keras3",
    "layers",
    "metrics",
    "ops",
    "optimizers",
    "pipelined",
    "precisions",
    "request_id",
    "serving",
    "snapshots",
]

# Homes of public modules that live in a room of their own.
_MODULES = {
    "initializers": "monolith_tf.config.initializers",
    "precisions": "monolith_tf.config.precisions",
}
# Homes of the names that are not modules.
_HOME = {
    "Admission": "monolith_tf.config.admission",
    "Eviction": "monolith_tf.config.eviction",
    "event_time": "monolith_tf.step.event_time",
    "FeatureConfig": "monolith_tf.feature",
    "MonolithError": "monolith_tf.errors",
    "Segment": "monolith_tf.config.table_config",
    "pipelined": "monolith_tf.step.pipeline",
    "request_id": "monolith_tf.step.request_id",
    "Table": "monolith_tf.table",
    "TableConfig": "monolith_tf.config.table_config",
    "TableSet": "monolith_tf.placement.table_set",
}


def __getattr__(name: str):
    """Loads a public name."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
    else:
        value = importlib.import_module(
            _MODULES.get(name, f"{__name__}.{name}")
        )
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Lists the public names, loaded or not."""
    return sorted(["__version__", *__all__])


importlib.import_module(
    "monolith_tf.keras_common.registration"
).register_when_loaded()
