"""Table configuration: plain data that builds no graph.

Imports `errors` and `failpoints`. Start with `table_config.py`.
"""
