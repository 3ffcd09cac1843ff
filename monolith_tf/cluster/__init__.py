"""Processes of a training job: roles, launch, failure detection, metrics.

Imports `ops`, `config` and below. Start with `roles.py`, then `job.py`.
"""
