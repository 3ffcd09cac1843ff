"""Exports, deltas and a model server, installed as `monolith_tf.serving`.

Imports `ids`, `step` and below. Start with `export.py`, then `pusher.py`;
`delta_log.py` keeps what was pushed. The public names load on first use, so a
process loads only what it uses.
"""

from __future__ import annotations

import importlib

_HOME = {
    "DeltaPusher": "monolith_tf.serving.pusher",
    "ExportRecord": "monolith_tf.serving.export_record",
    "ModelServer": "monolith_tf.serving.server",
    "PredictionClient": "monolith_tf.serving.client",
    "PushOptions": "monolith_tf.serving.push_options",
    "dense_variables": "monolith_tf.serving.graph.model_trace",
    "export_saved_model": "monolith_tf.serving.export",
}

__all__ = list(_HOME)


def __getattr__(name: str):
    """Loads a public name."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """Lists the public names, loaded or not."""
    return sorted(_HOME)
