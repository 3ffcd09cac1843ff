"""Table configuration: plain data that builds no graph.

Imports only `monolith_tf.errors`. Start with `table_config.py`.
"""
