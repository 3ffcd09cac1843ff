"""What layers that read tables have in common, in either Keras."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from monolith_tf.checkpoint.keras_file import load_tables
from monolith_tf.checkpoint.keras_file import save_tables
from monolith_tf.config.table_config import TableConfig
from monolith_tf.feature import FeatureConfig
from monolith_tf.keras_common.feature_ids import FeatureIds
from monolith_tf.placement.registry import two_configs_message
from monolith_tf.step.backend import IdRead
from monolith_tf.step.backend import note_read
from monolith_tf.step.lookup import lookup_features
from monolith_tf.step.table_variable import TableVariable
from monolith_tf.table import Table


class TableReader:
    """Mixed into a `Layer` class of a Keras, before it.

    The layer calls `_make_tables` once, and has `name` and `compute_dtype`;
    its `compute_mask` gives `_masks(inputs, mask_of)`, of one feature or many.
    """

    def _make_tables(self, features: Sequence[FeatureConfig]) -> None:
        """Makes the tables of features, or finds those that are there."""
        self._feature_list = tuple(features)
        self._table_of_feature = _tables_of(features)
        self._table_list = sorted(
            set(self._table_of_feature.values()), key=lambda table: table.name
        )

    def _anchors_of_tables(self) -> list[TableVariable]:
        """The variables of lookups on the tables' own terms."""
        return [table.anchor for table in self._table_list]

    def _anchors_of_own_terms(self) -> list[TableVariable]:
        """The variables of features that have terms of their own."""
        own = {
            (self._table_of_feature[feature.name], feature.own_terms): None
            for feature in self._feature_list
            if feature.own_terms
        }
        return [table.anchor_of(own_terms) for table, own_terms in own]

    @property
    def tables(self) -> list[Table]:
        """The distinct tables that the layer reads, ordered by name."""
        return list(self._table_list)

    def read(self, inputs: dict, weights: dict | None = None) -> dict:
        """Reads and combines the rows of all features by one lookup.

        Args:
            inputs: Feature name to ids.
            weights: Feature name to weights, for some of the features, or None.

        Returns:
            Feature name to its vectors, in the layer's compute dtype.
        """
        self._refuse_other_keras(inputs)
        weights = {} if weights is None else weights
        self._check_weights(inputs, weights)
        for feature in self._feature_list:
            note_read(self._read_of(feature, inputs[feature.name]))
        found = FeatureIds.of_all(self._feature_list, inputs, weights)
        vectors = lookup_features(
            self._table_list,
            [feature_ids.batch for feature_ids in found],
            [
                self._table_list.index(self._table_of_feature[feature.name])
                for feature in self._feature_list
            ],
        )
        return {
            feature_ids.feature.name: feature_ids.in_structure(
                tf.cast(feature_vectors, self.compute_dtype)
            )
            for feature_ids, feature_vectors in zip(found, vectors, strict=True)
        }

    def _read_of(self, feature: FeatureConfig, ids) -> IdRead:
        """Names a read of ids as the user knows it."""
        return IdRead(
            f"feature {feature.name!r}", feature.name, feature.padding_id, ids
        )

    def save_own_variables(self, store):
        """Writes the rows with their slots into a .keras file."""
        save_tables(self._table_list, store)

    def load_own_variables(self, store):
        """Puts the rows of a .keras file in place of the tables'.

        Raises:
            CheckpointError: A part is missing, or the rows are of another
                layout; no table of the layer changed.
        """
        load_tables(self._table_list, store)

    def _refuse_other_keras(self, inputs: dict) -> None:
        """Refuses to be part of a model of the other Keras.

        Such a model does not see the layer's variables, so that it would never
        train its tables.
        """
        raise NotImplementedError

    def _check_weights(self, inputs: dict, weights) -> None:
        if not isinstance(weights, dict):
            raise TypeError(
                f"Layer {self.name!r} needs weights as a dict of feature name "
                f"to weights. Received: {type(weights).__name__}."
            )
        unknown = sorted(set(weights) - set(inputs))
        if unknown:
            raise ValueError(
                f"Layer {self.name!r} got weights for {unknown}, which are not "
                f"among its features: {sorted(inputs)}."
            )


def _tables_of(features: Sequence[FeatureConfig]) -> dict[str, Table]:
    """Returns the table of each feature; equal configs are one table."""
    of_feature: dict[str, Table] = {}
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
            made[name] = Table(by_name[name])
        of_feature[feature.name] = made[name]
    return of_feature
