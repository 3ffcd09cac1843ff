"""Table configuration: plain data that builds no graph.

Imports `errors`. Start with `table_config.py`.
"""
