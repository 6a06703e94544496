"""The toy exchange in HELICS: a broker and one federate to a process, in a ring, one double each, one request a step.

    python tests/benchmarks/peerhelics.py --federates 4 --steps 2000

Prints the seconds that the slowest federate took for the steps, without those of connecting. Loopback only; the
broker and the federates are ended whatever happens, and die with this process.
"""

from __future__ import annotations

import argparse
import ctypes
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack

import helics

SETTLED = 50
"""Steps before the time is taken."""

TIMEOUT = 120.0
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Play the part that the command line says; without one, start all the others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["broker", "federate"])
    parser.add_argument("--core", default="zmq", help="HELICS core type, such as zmq, zmqss or tcp")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--number", type=int, default=0)
    parser.add_argument("--federates", type=int, default=4)
    parser.add_argument("--steps", type=int, default=2_000)
    options = parser.parse_args()
    if options.part is not None:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    {"broker": broker, "federate": federate, None: together}[options.part](options)


def together(options: argparse.Namespace) -> None:
    """Run broker and federates as processes and print what the slowest federate took."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    port = free_port()
    with ExitStack() as stack:
        broking = started(stack, options, "broker", port)
        assert broking.stdout is not None
        broking.stdout.readline()
        parts = [started(stack, options, "federate", port, number) for number in range(options.federates)]
        said = [child.communicate(timeout=TIMEOUT)[0] for child in parts]
        broking.wait(TIMEOUT)
    print(max(float(text.split()[-1]) for text in said), flush=True)


def started(stack: ExitStack, options: argparse.Namespace, part: str, port: int, number: int = 0) -> Child:
    """Start one part; the stack ends it."""
    given = {"part": part, "core": options.core, "port": port, "number": number}
    given |= {"federates": options.federates, "steps": options.steps}
    arguments = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    child = subprocess.Popen([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True)
    stack.callback(child.wait)
    stack.callback(child.kill)
    return child


Child = subprocess.Popen[str]


def free_port() -> int:
    """Return a port that nobody listens on now; HELICS takes the next few as well."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return min(int(probe.getsockname()[1]), 65_000)


def broker(options: argparse.Namespace) -> None:
    """Broker until the federates are done."""
    words = f"-f {options.federates} --port={options.port} --localinterface=127.0.0.1 --loglevel=no_print"
    made = helics.helicsCreateBroker(options.core, "broker", words)
    print("ready", flush=True)
    helics.helicsBrokerWaitForDisconnect(made, int(TIMEOUT * 1000))
    helics.helicsCloseLibrary()


def federate(options: argparse.Namespace) -> None:
    """Publish a double, read the neighbour's, ask for the next second; print how long the steps took."""
    fed = federate_of(options)
    out = helics.helicsFederateRegisterGlobalPublication(fed, f"x{options.number}", helics.HELICS_DATA_TYPE_DOUBLE, "")
    before = (options.number - 1) % options.federates
    inlet = helics.helicsFederateRegisterSubscription(fed, f"x{before}", "")
    helics.helicsFederateEnterExecutingMode(fed)
    helics.helicsPublicationPublishDouble(out, 0.0)
    begin = 0.0
    for step in range(1, SETTLED + options.steps + 1):
        helics.helicsFederateRequestTime(fed, float(step))
        helics.helicsPublicationPublishDouble(out, 0.5 * helics.helicsInputGetDouble(inlet) + 1)
        if step == SETTLED:
            begin = time.perf_counter()
    took, last = time.perf_counter() - begin, helics.helicsInputGetDouble(inlet)
    if abs(last - 2) > 1e-6:
        raise RuntimeError(f"nothing was exchanged: {last}")
    print(took, flush=True)
    helics.helicsFederateDisconnect(fed)
    helics.helicsFederateFree(fed)
    helics.helicsCloseLibrary()


def federate_of(options: argparse.Namespace) -> helics.HelicsValueFederate:
    """Return a federate connected to the broker, of a period of 1 s."""
    facts = helics.helicsCreateFederateInfo()
    helics.helicsFederateInfoSetCoreTypeFromString(facts, options.core)
    words = f"--federates=1 --brokerport={options.port} --broker_address=127.0.0.1 --localinterface=127.0.0.1"
    helics.helicsFederateInfoSetCoreInitString(facts, f"{words} --loglevel=no_print")
    helics.helicsFederateInfoSetTimeProperty(facts, helics.HELICS_PROPERTY_TIME_PERIOD, 1.0)
    return helics.helicsCreateValueFederate(f"federate{options.number}", facts)


if __name__ == "__main__":
    main()
