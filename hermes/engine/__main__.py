"""``python -m hermes.engine FD OWNER_PID``: started by a session only, with one end of their link as FD.

It ends itself, its modules and its memory when its owner disappears, by the end of file on the link or by the
owner's pidfd, whichever is first.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys

from hermes.backplane.link import Link
from hermes.backplane.sync import readable
from hermes.engine.engine import Engine
from hermes.engine.plan import Plan
from hermes.errors import SystemRefused, to_wire
from hermes.system import obtain

_PR_SET_TIMERSLACK = 29


def main() -> None:
    """Receive the plan and run it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1)  # else the kernel may let every sleep end 50 us late
    link = Link(socket.socket(fileno=int(sys.argv[1])))
    try:
        owner = obtain("watch the process of the session", os.pidfd_open, int(sys.argv[2]))
    except SystemRefused as error:
        link.send({"type": "start_failed", **to_wire(error)})
        return
    if os.getppid() != int(sys.argv[2]):
        return
    while not (records := link.receive()):
        if link.ended or owner in readable([link.fileno(), owner]):
            return
    Engine(link, Plan.from_json(records[0]["plan"]), owner).run()


if __name__ == "__main__":
    main()
