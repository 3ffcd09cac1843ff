"""The end of a process that is to be restarted."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

# sysexits.h: a temporary failure, try again.
EXIT_RESTART = 75


def leave_for_restart(event: str, details: str) -> NoReturn:
    """Ends the chief at once with exit code 75, and says why in one line.

    It closes nothing else, because threads of a coordinator may wait for a dead
    server without a limit.

    Args:
        event: What happened, such as "the cluster failed".
        details: More about it.
    """
    print(
        f"monolith-tf: {event}, so the chief exits with code {EXIT_RESTART} to "
        f"be restarted: {details}",
        file=sys.stderr,
        flush=True,
    )
    sys.stdout.flush()
    os._exit(EXIT_RESTART)
