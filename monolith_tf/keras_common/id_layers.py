"""Mixins of layers that make ids, in either Keras.

Each comes before the layer class among the bases.
"""

from __future__ import annotations

from monolith_tf import ids
from monolith_tf.keras_common.feature_ids import ids_of


class MadeOfStrings:
    """A `StringIds` layer."""

    def call(self, inputs):
        """Hashes."""
        known = ids_of(inputs)
        return known if known is not inputs else ids.from_strings(inputs)


class MadeByPacking:
    """A `PackedIds` layer."""

    def __init__(self, feature_number: int, **kwargs):
        """Checks the number."""
        super().__init__(**kwargs)
        ids.pack(feature_number, [0])
        self.feature_number = int(feature_number)

    def call(self, inputs):
        """Packs."""
        return ids.pack(self.feature_number, ids_of(inputs))

    def get_config(self):
        """Returns the arguments of `from_config`."""
        return {**super().get_config(), "feature_number": self.feature_number}


class MadeByCrossing:
    """A `CrossedIds` layer."""

    def __init__(self, salt: int = 0, padding_id: int | None = None, **kwargs):
        """Checks the numbers."""
        super().__init__(**kwargs)
        ids.cross([[0], [0]], salt=salt, padding_id=padding_id)
        self.salt = int(salt)
        self.padding_id = None if padding_id is None else int(padding_id)

    def call(self, inputs):
        """Crosses."""
        return ids.cross(
            [ids_of(value) for value in inputs],
            salt=self.salt,
            padding_id=self.padding_id,
        )

    def get_config(self):
        """Returns the arguments of `from_config`."""
        return {
            **super().get_config(),
            "salt": self.salt,
            "padding_id": self.padding_id,
        }
