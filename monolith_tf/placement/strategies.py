"""The strategy that tables are made under."""

from __future__ import annotations

import tensorflow as tf


def current_strategy():
    """Returns the open ParameterServerStrategy, or None for one process."""
    if not tf.distribute.has_strategy():
        return None
    strategy = tf.distribute.get_strategy()
    if isinstance(strategy, tf.distribute.ParameterServerStrategy):
        return strategy
    if strategy.num_replicas_in_sync > 1:
        raise ValueError(
            f"Tables can't be used under {type(strategy).__name__} with "
            f"{strategy.num_replicas_in_sync} replicas: each replica would "
            "make its own optimizer step. Use "
            "tf.distribute.ParameterServerStrategy, or one replica."
        )
    return None
