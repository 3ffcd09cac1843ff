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
    from monolith_tf import errors
    from monolith_tf import ids
    from monolith_tf import initializers
    from monolith_tf import keras3
    from monolith_tf import layers
    from monolith_tf import ops
    from monolith_tf import optimizers
    from monolith_tf import precisions
    from monolith_tf import serving
    from monolith_tf.admission import Admission
    from monolith_tf.clock import event_time
    from monolith_tf.config import Segment
    from monolith_tf.config import TableConfig
    from monolith_tf.errors import MonolithError
    from monolith_tf.eviction import Eviction
    from monolith_tf.feature import Feature
    from monolith_tf.named_tables import restore_tables
    from monolith_tf.pipeline import pipelined
    from monolith_tf.requests import request_counts
    from monolith_tf.requests import request_id
    from monolith_tf.table import Table
    from monolith_tf.table_set import TableSet
    from monolith_tf.table_stats import StatsCollector
    from monolith_tf.table_stats import TableStats
    from monolith_tf.table_stats import stats

if os.path.basename((getattr(sys, "argv", None) or [""])[0]) == "monolith-tf":
    # A command's own process: set before TensorFlow prints its start-up lines.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

importlib.import_module("monolith_tf.ops")

__version__ = "0.1.0"

__all__ = [
    "Admission",
    "Eviction",
    "Feature",
    "MonolithError",
    "Segment",
    "StatsCollector",
    "Table",
    "TableConfig",
    "TableSet",
    "TableStats",
    "callbacks",
    "errors",
    "event_time",
    "ids",
    "initializers",
    "keras3",
    "layers",
    "ops",
    "optimizers",
    "pipelined",
    "precisions",
    "request_counts",
    "request_id",
    "restore_tables",
    "serving",
    "stats",
]

# Where the names live that are not modules themselves.
_HOME = {
    "Admission": "monolith_tf.admission",
    "Eviction": "monolith_tf.eviction",
    "event_time": "monolith_tf.clock",
    "Feature": "monolith_tf.feature",
    "MonolithError": "monolith_tf.errors",
    "Segment": "monolith_tf.config",
    "pipelined": "monolith_tf.pipeline",
    "request_counts": "monolith_tf.requests",
    "request_id": "monolith_tf.requests",
    "restore_tables": "monolith_tf.named_tables",
    "StatsCollector": "monolith_tf.table_stats",
    "Table": "monolith_tf.table",
    "TableConfig": "monolith_tf.config",
    "TableSet": "monolith_tf.table_set",
    "TableStats": "monolith_tf.table_stats",
    "stats": "monolith_tf.table_stats",
}


def __getattr__(name: str):
    """Loads a public name."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
    else:
        value = importlib.import_module(f"{__name__}.{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Public names, loaded or not."""
    return sorted({*globals(), *__all__})


importlib.import_module("monolith_tf.keras_registration").register_when_loaded()
