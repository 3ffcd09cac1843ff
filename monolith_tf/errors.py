"""Errors that the library raises at run time.

Wrong arguments raise `ValueError` or `TypeError` where they are passed. Errors
that occur only at run time are subclasses of `MonolithError`; their messages
have the found and the expected value, and a remedy.
"""

import re

__all__ = [
    "CheckpointError",
    "DeliveryError",
    "ExportError",
    "FencedError",
    "FormatError",
    "MonolithError",
    "ReadAheadError",
    "RestoredMeanwhileError",
    "in_one_line",
]

# What TensorFlow writes before the message when a function failed: among it
# where each op was made, a line of a file and maybe the source code there.
_PREAMBLE = re.compile(
    r"\s*(?:$|Graph execution error:|Detected at node|<stack traces"
    r"|Node: '|\d+ root error\(s\) found|File \".*\", line \d+, in )"
)
_SOURCE = re.compile(r"(^ *File \".*\", line \d+, in .*\n)    +\S.*\n", re.M)
_NUMBER_OF_ROOT = re.compile(r"\(\d+\) [A-Z_]+:\s*")
_PROCESS = re.compile(r"/job:(\w+)/replica:\d+/task:(\d+)")


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
    """A model can't be exported."""


class RestoredMeanwhileError(ExportError):
    """Tables were restored or restarted while an export read them."""


class FencedError(MonolithError):
    """A newer process writes in place of this one."""


class DeliveryError(MonolithError):
    """A delta could not be delivered to a model server."""


class ReadAheadError(MonolithError):
    """A step reads other rows than were read ahead (`mt.pipelined`)."""


class FormatError(MonolithError):
    """A file has an invalid format; the message has file and offset."""


def in_one_line(error: BaseException) -> str:
    r"""Describes an error in one line, for logs.

    TensorFlow's errors have many lines; that which says what happened need not
    be the first, and which process it happened to is in another.

    Args:
        error: Any error.

    Returns:
        Its type, the first line that says something, and the process of the
        cluster that the rest names, if any.

    Example:
    >>> in_one_line(
    ...     RuntimeError("Graph execution error:\n\nNot there\nFrom remote "
    ...                  "target /job:ps/replica:0/task:1/device:CPU:0")
    ... )
    'RuntimeError: Not there (ps 1)'
    """
    text = str(error)
    lines = _SOURCE.sub(r"\1", text).splitlines()
    line = next((x for x in lines if not _PREAMBLE.match(x)), "").strip()
    line = _NUMBER_OF_ROOT.sub("", line, count=1)
    said = f"{type(error).__name__}: {line}" if line else type(error).__name__
    process = _PROCESS.search(text)
    if process and process[0] not in line:
        said += f" ({process[1]} {process[2]})"
    return said
