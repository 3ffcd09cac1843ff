"""Configs of learning rate schedules of either Keras."""

from __future__ import annotations

from monolith_tf.config.keras_version import is_keras_3


def described(schedule) -> dict:
    """Returns the config of an equal schedule (JSON-able).

    Args:
        schedule: A `LearningRateSchedule` of tf_keras or of Keras 3.
    """
    if is_keras_3(schedule):
        import keras

        return {**keras.optimizers.schedules.serialize(schedule), "keras": 3}
    import tf_keras

    return tf_keras.optimizers.schedules.serialize(schedule)


def made(config: dict):
    """Makes the schedule of a config of `described`, of the same Keras."""
    if config.get("keras") == 3:
        import keras

        config = {key: config[key] for key in config if key != "keras"}
        return keras.optimizers.schedules.deserialize(config)
    import tf_keras

    return tf_keras.optimizers.schedules.deserialize(config)
