"""Table sets: which tables live together, and on which servers.

Imports `stock_ops` and below. Start with `table_set.py`.
"""
