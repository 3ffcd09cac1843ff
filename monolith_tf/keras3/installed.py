"""The installed Keras 3, checked."""

from __future__ import annotations

import importlib
import os


def require(keras):
    """Returns the package `keras` if tables can be used with it.

    Args:
        keras: The package.

    Raises:
        ImportError: It is older than Keras 3, or runs on another backend than
            TensorFlow.
    """
    version = str(getattr(keras, "__version__", "unknown"))
    major = version.partition(".")[0]
    if not major.isdigit() or int(major) < 3:
        raise ImportError(
            "mt.keras3 needs Keras 3. The package keras that is installed has "
            f"version {version}. Install keras>=3, or build the model with "
            "tf_keras, mt.layers and mt.optimizers.with_tables."
        )
    _check_backend(keras.config.backend())
    return keras


def _check_backend(backend: str) -> None:
    if backend != "tensorflow":
        raise ImportError(
            "mt.keras3 needs the TensorFlow backend of Keras 3: tables are "
            f"read by TensorFlow ops. The backend is {backend!r}. Set "
            "KERAS_BACKEND=tensorflow in the environment, or the backend in "
            "~/.keras/keras.json, before keras is imported."
        )


def _load():
    # Before Keras imports a backend that may not be installed.
    _check_backend(os.environ.get("KERAS_BACKEND") or "tensorflow")
    try:
        return importlib.import_module("keras")
    except ImportError as error:
        raise ImportError(
            f"mt.keras3 needs Keras 3, which can't be imported: {error}. "
            "Install keras>=3, or build the model with tf_keras, mt.layers and "
            "mt.optimizers.with_tables."
        ) from error


keras = require(_load())
