"""Loads the op library, and says how to fix one that does not fit."""

from __future__ import annotations

import pathlib
from types import ModuleType

import tensorflow as tf

LIBRARY = pathlib.Path(__file__).with_name("_monolith_ops.so")
_REBUILD = (
    "Rebuild it against the installed TensorFlow: in the source tree of "
    "monolith-tf run\n    pip install --force-reinstall --no-deps "
    "--no-build-isolation ."
)


def load_library() -> ModuleType:
    """Loads the op library.

    Returns:
        The module with one function per op.

    Raises:
        ImportError: It is missing, or was built for another TensorFlow.
    """
    try:
        from monolith_tf.ops import _build_info
    except ImportError as error:
        raise ImportError(
            f"monolith_tf has no compiled op library ({LIBRARY} is missing). "
            + _REBUILD
        ) from error
    check_build(_build_info.TENSORFLOW_VERSION, tf.__version__)
    try:
        return tf.load_op_library(str(LIBRARY))
    except (OSError, tf.errors.OpError) as error:
        raise ImportError(
            f"The op library {LIBRARY} does not load under TensorFlow "
            f"{tf.__version__}: {error}\n{_REBUILD}"
        ) from error


def check_build(built_for: str, installed: str) -> None:
    """Compares the TensorFlow that the library was built for with this one.

    Raises:
        ImportError: They differ.
    """
    if built_for != installed:
        raise ImportError(
            f"monolith_tf was built for TensorFlow {built_for}, but TensorFlow "
            f"{installed} is installed; C++ ops run only under the version "
            f"that they were built for. {_REBUILD}"
        )
