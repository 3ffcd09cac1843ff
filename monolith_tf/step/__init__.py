"""One training step: lookups, gradients and updates of tables.

May import `placement` and all rooms below it. Start with `lookup.py`, then
`apply.py`.
"""
