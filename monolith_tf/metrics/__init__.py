"""Statistics of tables and counts of updates, also for Prometheus.

Imports `placement` and below. Start with `table_stats.py`.
"""

from monolith_tf.metrics.request_counts import RequestCounts
from monolith_tf.metrics.request_counts import request_counts
from monolith_tf.metrics.table_stats import StatsCollector
from monolith_tf.metrics.table_stats import TableStats
from monolith_tf.metrics.table_stats import stats

__all__ = [
    "RequestCounts",
    "StatsCollector",
    "TableStats",
    "request_counts",
    "stats",
]
