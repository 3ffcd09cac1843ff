"""Errors that the library raises at run time.

Wrong arguments raise `ValueError` or `TypeError` where they are passed. What
can only be seen while a program runs raises a child of `MonolithError`, which
says what was found, what was expected and how to go on.
"""

__all__ = [
    "CheckpointError",
    "DeliveryError",
    "ExportError",
    "FormatError",
    "MonolithError",
    "ReadAheadError",
]


class MonolithError(Exception):
    """Base of the errors that this library raises at run time.

    A plain `Exception`, because AutoGraph passes on the type of an error only
    where it can be made of a message alone.

    Example:
    >>> issubclass(CheckpointError, MonolithError)
    True
    """


class CheckpointError(MonolithError):
    """A checkpoint lacks a part, or was saved by a table of another config."""


class ExportError(MonolithError):
    """A model can't be exported as it stands."""


class DeliveryError(MonolithError):
    """A delta could not be delivered to a model server."""


class ReadAheadError(MonolithError):
    """A step reads other rows than were read ahead (`mt.pipelined`)."""


class FormatError(MonolithError):
    """A file is not what it should be; the message names file and offset."""
