"""Registers layers and optimizers with each Keras as soon as it is loaded.

Keras finds the classes of a saved model in its registry. `import monolith_tf`
has to be enough for them to be there, before or after the import of Keras, and
yet must not load a Keras by itself.
"""

from __future__ import annotations

import importlib

import wrapt


def register_when_loaded() -> None:
    """Registers with tf_keras and Keras 3, at once or when they are imported.

    What the hooks load may not stand on modules that import a Keras at the top:
    such a module would be half imported when its own import runs the hook.
    """
    wrapt.register_post_import_hook(_register_with_tf_keras, "tf_keras")
    wrapt.register_post_import_hook(_register_with_keras_3, "keras")


def _register_with_tf_keras(_) -> None:
    importlib.import_module("monolith_tf.layers")
    importlib.import_module(
        "monolith_tf.optimizers.with_tables"
    ).register_optimizers()


def _register_with_keras_3(_) -> None:
    try:
        importlib.import_module("monolith_tf.keras3")
    except Exception:
        # TensorFlow imports Keras 3 for programs of tf_keras too: a version or
        # a backend that does not fit is their error only when they name
        # mt.keras3, which raises it again.
        pass
