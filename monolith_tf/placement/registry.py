"""The table set of a new table, and the tables of a model."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

from monolith_tf.config.table_config import TableConfig
from monolith_tf.placement import graph_scope
from monolith_tf.placement.strategies import current_strategy
from monolith_tf.placement.table_handle import TableHandle
from monolith_tf.placement.table_set import TableSet
from monolith_tf.placement.table_set import active_sets
from monolith_tf.placement.table_set import belongs_to
from monolith_tf.placement.table_set import live_table
from monolith_tf.placement.table_set import lock

# Table set in which the table of a config object was made last.
_homes: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
_process_sets: dict[str, TableSet] = {}
_strategy_sets: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def table_set_for(config: TableConfig) -> TableSet:
    """Returns the table set that a table of this config belongs to now.

    Outside of a `with mt.TableSet():` block, another live table of the same
    name means that a new model begins, and with it a new set.

    Raises:
        ValueError: The set of the `with` block has another table of that name.
    """
    if active_sets():
        table_set = active_sets()[-1]
        found = live_table(table_set, config.name)
        if found is not None and found.config is not config:
            raise ValueError(two_configs_message(found.config, config))
        return table_set
    graph = graph_scope.building_graph()
    if graph is not None:
        sets = graph.get_collection(graph_scope.TABLE_SETS)
        if not sets:
            return TableSet()
        found = live_table(sets[0], config.name)
        if found is not None and not found.config.same_as(config):
            raise ValueError(two_configs_message(found.config, config))
        return sets[0]
    strategy = current_strategy()
    with lock:
        # A config object is one table, even after other models began.
        home = _homes.get(config, lambda: None)()
        if home is not None and belongs_to(home, strategy):
            table = live_table(home, config.name)
            if table is not None and table.config is config:
                return home
        if strategy is None:
            found = _process_sets
            key = "process"
        else:
            found = _strategy_sets
            key = strategy
        table_set = found.get(key)
        if table_set is not None and table_set.tables:
            table = live_table(table_set, config.name)
            if table is None or table.config is config:
                _homes[config] = weakref.ref(table_set)
                return table_set
        found[key] = TableSet()
        _homes[config] = weakref.ref(found[key])
        return found[key]


def two_configs_message(first: TableConfig, second: TableConfig) -> str:
    """Returns the error text for one name of two tables."""
    return (
        f"Two tables are named {first.name!r}: {first} and {second}. Names of "
        "tables are unique in a model: pass the same TableConfig object (or "
        "the same mt.Table) wherever the table is used, or rename one."
    )


def tables_of(model) -> list[TableHandle]:
    """Returns the distinct tables that a model's layers read, by name.

    Args:
        model: A Keras model or layer, an `mt.Table`, or a list of these.

    Raises:
        ValueError: Two tables of the model have one name, or the tables belong
            to different table sets.
    """
    found: dict[str, TableHandle] = {}
    for part in model if isinstance(model, (list, tuple)) else [model]:
        if hasattr(part, "_flatten_layers"):
            holders = list(part._flatten_layers())
        else:
            holders = [part]
        for holder in holders:
            tables = getattr(holder, "tables", None)
            if tables is None:
                tables = [holder] if hasattr(holder, "table_set") else []
            for table in tables:
                other = found.setdefault(table.name, table)
                if other is not table:
                    raise ValueError(
                        two_configs_message(other.config, table.config)
                    )
    if len({id(table.table_set) for table in found.values()}) > 1:
        raise ValueError(
            "The model's tables belong to different table sets, because it "
            "was built while another model with tables of the same names was "
            f"alive: {sorted(found)}. Build each model in its own set: "
            "`with mt.TableSet(): model = build()`."
        )
    return [table for _, table in sorted(found.items())]


def by_table_set(
    tables: Sequence[TableHandle],
) -> list[tuple[TableSet, list[int]]]:
    """Groups the positions of tables by their table set, order kept."""
    groups = {}
    for number, table in enumerate(tables):
        groups.setdefault(id(table.table_set), (table.table_set, []))[1].append(
            number
        )
    return list(groups.values())
