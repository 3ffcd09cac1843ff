"""Optimizer classes of a Keras, extended by the update of tables.

Loads no Keras. Lies in this room and not in `keras_common`, which stands on
optimizers.
"""

from __future__ import annotations

_classes: dict[type, type] = {}


def extended_class(base: type, mixin: type, saving) -> type:
    """Returns the subclass of an optimizer class that updates tables too.

    Args:
        base: Optimizer class of a Keras.
        mixin: Class with the update of tables.
        saving: `tf_keras.saving` or `keras.saving`; the subclass is registered
            there, so that saved models load.

    Returns:
        `<base>WithTables`, always the same for a base.
    """
    if base not in _classes:
        made = type(f"{base.__name__}WithTables", (mixin, base), {})
        made.__doc__ = (
            f"{base.__name__} that sends gradients of rows to tables."
        )
        made.__module__ = mixin.__module__
        register = saving.register_keras_serializable(package="monolith_tf")
        _classes[base] = register(made)
    return _classes[base]


def optimizer_classes(optimizers) -> list[type]:
    """Returns the optimizer classes of a Keras, without their base class.

    Args:
        optimizers: `tf_keras.optimizers` or `keras.optimizers`.
    """
    values = [getattr(optimizers, name) for name in dir(optimizers)]
    return [
        value
        for value in values
        if isinstance(value, type)
        and issubclass(value, optimizers.Optimizer)
        and value is not optimizers.Optimizer
    ]
