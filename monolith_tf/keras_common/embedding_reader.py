"""Reads the features of a layer, in either Keras."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from monolith_tf.config.feature_overrides import NO_OVERRIDES
from monolith_tf.config.table_config import TableConfig
from monolith_tf.feature import FeatureConfig
from monolith_tf.keras_common.feature_ids import FeatureIds
from monolith_tf.placement.registry import two_configs_message
from monolith_tf.step.backend import current_backend
from monolith_tf.step.table_variable import TableVariable
from monolith_tf.stock_ops.id_reads import IdRead
from monolith_tf.stock_ops.id_reads import current_reads
from monolith_tf.table import Table


class EmbeddingReader:
    """Holds the tables of some features and reads them by one lookup.

    A layer holds one. It makes the tables, or finds those that exist.

    Args:
        layer_name: Name of the layer, for messages.
        features: `mt.FeatureConfig`s with different names.
        are_named: False if the user did not name the features.

    Attributes:
        features: The features, in order.
        tables: The distinct tables, ordered by name.

    Raises:
        TypeError: A feature is not an `mt.FeatureConfig`.
        ValueError: There is no feature, two have one name, or two tables have
            one name and different configs.
    """

    def __init__(
        self,
        layer_name: str,
        features: Sequence[FeatureConfig],
        are_named: bool = True,
    ):
        """Checks the features and makes their tables."""
        self._layer_name = layer_name
        self._are_named = are_named
        self.features = _checked(features)
        tables = _tables_of(self.features)
        self.tables = sorted(set(tables), key=lambda table: table.name)
        self._feature_tables = [self.tables.index(table) for table in tables]
        self._names = sorted(feature.name for feature in self.features)

    def table_variables(self) -> list[TableVariable]:
        """Returns the variables of lookups without overrides, one per table."""
        return [table.variable_for(NO_OVERRIDES) for table in self.tables]

    def override_variables(self) -> list[TableVariable]:
        """Returns the variables of features with overrides."""
        distinct = {
            (table, feature.overrides): None
            for table, feature in zip(
                self._feature_tables, self.features, strict=True
            )
            if feature.overrides
        }
        return [
            self.tables[table].variable_for(overrides)
            for table, overrides in distinct
        ]

    def check_names(self, inputs) -> None:
        """Checks that inputs are those of the features.

        Raises:
            TypeError: `inputs` is not a dict.
            ValueError: Its keys are not the names of the features.
        """
        if not isinstance(inputs, dict):
            raise TypeError(
                f"Layer {self._layer_name!r} needs a dict of feature name to "
                f"ids, with the keys {self._names}. Received: "
                f"{type(inputs).__name__}."
            )
        if sorted(inputs) != self._names:
            raise ValueError(
                f"Layer {self._layer_name!r} needs ids for exactly the "
                f"features {self._names}. Received: {sorted(inputs)}."
            )

    def read(self, inputs: dict, weights: dict | None, dtype) -> dict:
        """Reads and combines the rows of all features by one lookup.

        Args:
            inputs: Feature name to ids, an entry for each feature.
            weights: Feature name to weights, for some of the features, or None.
            dtype: Dtype of the vectors.

        Returns:
            Feature name to its vectors.
        """
        if weights is None:
            weights = {}
        else:
            self._check_weights(weights)
        reads = current_reads()
        if reads is not None:
            reads += self._id_reads(inputs)
        backend = current_backend()
        found = FeatureIds.of_all(backend, self.features, inputs, weights)
        vectors = backend.read_features(
            self.tables,
            [feature_ids.batch for feature_ids in found],
            self._feature_tables,
        )
        return {
            feature_ids.feature.name: feature_ids.in_structure(
                tf.cast(feature_vectors, dtype)
            )
            for feature_ids, feature_vectors in zip(found, vectors, strict=True)
        }

    def _id_reads(self, inputs: dict) -> list[IdRead]:
        return [
            IdRead(
                f"feature {feature.name!r}"
                if self._are_named
                else f"layer {self._layer_name!r}",
                feature.name if self._are_named else None,
                feature.padding_id,
                inputs[feature.name],
            )
            for feature in self.features
        ]

    def _check_weights(self, weights) -> None:
        if not isinstance(weights, dict):
            raise TypeError(
                f"Layer {self._layer_name!r} needs weights as a dict of "
                "feature name to weights. Received: "
                f"{type(weights).__name__}."
            )
        unknown = sorted(set(weights) - set(self._names))
        if unknown:
            raise ValueError(
                f"Layer {self._layer_name!r} got weights for {unknown}, which "
                f"are not among its features: {self._names}."
            )


def _checked(features: Sequence[FeatureConfig]) -> tuple[FeatureConfig, ...]:
    """Returns the features of a layer as a tuple."""
    features = tuple(features)
    if not features:
        raise ValueError(
            "EmbeddingCollection needs at least one mt.FeatureConfig. "
            "Received: an empty list."
        )
    for feature in features:
        if not isinstance(feature, FeatureConfig):
            raise TypeError(
                "EmbeddingCollection needs mt.FeatureConfigs. Received: "
                f"{feature!r} (of type {type(feature).__name__})."
            )
    names = [feature.name for feature in features]
    if len(set(names)) != len(names):
        raise ValueError(
            "The features of an EmbeddingCollection need different names. "
            f"Received: {names}."
        )
    return features


def _tables_of(features: Sequence[FeatureConfig]) -> list[Table]:
    """Returns the table of each feature; equal configs are one table."""
    by_name: dict[str, TableConfig] = {}
    for feature in features:
        first = by_name.setdefault(feature.config.name, feature.config)
        if not first.same_as(feature.config):
            raise ValueError(two_configs_message(first, feature.config))
    made: dict[str, Table] = {}
    for feature in features:
        name = feature.config.name
        if isinstance(feature.table, Table):
            if made.setdefault(name, feature.table) is not feature.table:
                raise ValueError(
                    two_configs_message(made[name].config, feature.config)
                )
        elif name not in made:
            made[name] = Table.get_or_create(by_name[name])
    return [made[feature.config.name] for feature in features]
