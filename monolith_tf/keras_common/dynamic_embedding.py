"""What a `DynamicEmbedding` is, in either Keras."""

from __future__ import annotations

from monolith_tf.config.table_config import TableConfig
from monolith_tf.feature import FeatureConfig
from monolith_tf.keras_common.serialization import describe_feature
from monolith_tf.keras_common.serialization import described_config
from monolith_tf.step.backend import IdRead
from monolith_tf.table import Table


class OneFeature:
    """Mixed into a layer that reads tables, before it.

    The layer takes a list of features, and `_saving` is that of its Keras.
    """

    def __init__(
        self,
        table: TableConfig | Table,
        combiner: str | None = None,
        padding_id: int | None = None,
        n: int | None = None,
        min_count: int | None = None,
        default_id: int | None = None,
        ttl_seconds: int | None = None,
        probability: float | None = None,
        **kwargs,
    ):
        """Makes the table, or finds it."""
        feature = FeatureConfig(
            "ids",
            table,
            combiner,
            padding_id,
            n,
            min_count,
            default_id,
            ttl_seconds,
            probability,
        )
        super().__init__([feature], **kwargs)
        self._feature = feature

    @property
    def table(self) -> Table:
        """The table that the layer reads."""
        return self._table_list[0]

    def call(self, inputs, weights=None):
        """Reads and combines."""
        if weights is not None:
            weights = {"ids": weights}
        return self.read({"ids": inputs}, weights)["ids"]

    def get_config(self):
        """Returns what `from_config` makes an equal layer of."""
        config = super().get_config()
        config.update(describe_feature(self._feature, self._saving))
        # The layer has a name of its own.
        config["name"] = self.name
        return config

    @classmethod
    def from_config(cls, config):
        """Makes the layer that `get_config` described, with a new table."""
        config = dict(config)
        config["table"] = described_config(config["table"], cls._saving)
        return cls(**config)

    def _masks(self, inputs, mask_of):
        return mask_of(self._feature, inputs)

    def _read_of(self, feature: FeatureConfig, ids) -> IdRead:
        # The feature has no name that a user gave.
        return IdRead(f"layer {self.name!r}", None, feature.padding_id, ids)
