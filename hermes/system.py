"""What is asked of the operating system and can be refused: memory, descriptors, processes, threads, files.

Session, engine and workers ask for all of it through here, so that a refusal is one kind of error, which says what was
needed, and leaves nothing half made behind. The frame path asks for nothing new and does not pass through here: words
of memory, eventfds that exist, polls over descriptors that exist.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from hermes.errors import SystemRefused

P = ParamSpec("P")
T = TypeVar("T")

_LIMITS = {
    errno.EMFILE: "see the limit of open files: ulimit -n",
    errno.ENFILE: "the whole machine has no more open files: see fs.file-max",
    errno.EAGAIN: "see the limit of processes and threads: ulimit -u",
    errno.EFBIG: "see the limit of file sizes: ulimit -f",
}
"""Where to look for the limit that an errno tells of."""


def perform(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Make one call: the only place where one is made, so that tests can put a refusal in its place."""
    return function(*args, **kwargs)


def attempt(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Make a call, again where a signal interrupted it; raises its OSError."""
    while True:
        try:
            result: T = perform(function, *args, **kwargs)
        except InterruptedError:
            continue
        return result


def obtain(needed: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Make a call that is `needed` to do something, such as "start the engine process"; raises SystemRefused."""
    try:
        return attempt(function, *args, **kwargs)
    except (OSError, MemoryError) as error:
        raise refused(needed, error) from error


def start_thread(needed: str, thread: threading.Thread) -> None:
    """Start a thread; raises SystemRefused."""
    try:
        attempt(thread.start)
    except RuntimeError as error:  # all that Python tells of a thread that cannot be started
        raise refused(needed, OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))) from error


def refused(needed: str, error: OSError | MemoryError) -> SystemRefused:
    """Return the refusal that an error of the operating system is."""
    if isinstance(error, MemoryError):
        error = OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
    limit = _LIMITS.get(error.errno or 0)
    return SystemRefused(needed, f"{error.strerror or error}{(limit and f' ({limit})') or ''}")


def missing_descriptors(needed: str) -> SystemRefused:
    """Return the refusal of descriptors that were sent and did not arrive: the kernel drops those beyond the limit."""
    return refused(needed, OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
