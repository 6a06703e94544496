"""What single values of a configuration may be: names, rates, limits, hosts, scripts.

Annotated types for the models of `hermes.config`, each with the phrase that a refusal answers. Nothing here knows a
second field.
"""

from __future__ import annotations

import ipaddress
import re
from fractions import Fraction
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, Field

from hermes.configproblems import takes

NAME = r"[A-Za-z_][A-Za-z0-9_-]{0,63}"
SIGNAL = r"[A-Za-z0-9_/-]+(?:\.[A-Za-z0-9_/-]+)*"
_RATIO = re.compile(r"[0-9]{1,20}/[0-9]{1,20}|[0-9]{1,20}(?:\.[0-9]{1,20})?")
MAX_RATE = 100_000
MAX_EVERY = 1_000_000
MAX_END_TIME = 1e9  # s; keeps time in nanoseconds within 64 bits
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,256}")


class ScriptTarget(NamedTuple):
    """What a module's `script` names: a `file` as written or an importable `module`, and perhaps a class in it."""

    file: Path | None
    module: str | None
    class_name: str | None


def script_target(script: str) -> ScriptTarget:
    """Return what `script` names; raise ValueError where it has neither form."""
    place, colon, class_name = script.partition(":")
    if colon and not class_name.isidentifier():
        raise ValueError(script)
    if "/" in place or place.endswith(".py"):
        return ScriptTarget(Path(place), None, class_name or None)
    if not all(part.isidentifier() for part in place.split(".")):
        raise ValueError(script)
    return ScriptTarget(None, place, class_name or None)


def checked_script(script: str) -> str:
    """Return `script` if it names something."""
    script_target(script)
    return script


def exact(number: float | str) -> Fraction:
    """Return `number` as written: 59.94 is exactly 5994/100, and ``'60000/1001'`` is that ratio.

    Raise ValueError or ZeroDivisionError for text that is neither a decimal nor a ratio of whole numbers.
    """
    if isinstance(number, str) and not _RATIO.fullmatch(number):
        raise ValueError(number)
    return Fraction(number if isinstance(number, str) else repr(number))


def checked_rate(rate: float | str) -> float | str:
    """Return `rate` if it is a rate that frames can have."""
    if not 0 < exact(rate) <= MAX_RATE:
        raise ValueError(rate)
    return rate


def checked_limits(limits: tuple[float, float]) -> tuple[float, float]:
    """Return `limits` if they are in order."""
    if limits[0] > limits[1]:
        raise ValueError(limits)
    return limits


def checked_host(host: str) -> str:
    """Return `host` if it is an address to listen on, of this machine's loopback or not."""
    if host != "localhost":
        ipaddress.ip_address(host)
    return host


def checked_token(token: str) -> str:
    """Return `token` if it is a token, or one of the words for a new one and for none."""
    if token not in ("auto", "none") and not _TOKEN.fullmatch(token):
        raise ValueError(token)
    return token


Flag = Annotated[bool, takes("true or false")]
Limits = Annotated[tuple[int | float, int | float], Field(strict=False), AfterValidator(checked_limits)]
Number = Annotated[float, takes("a finite number")]
ModuleName = Annotated[
    str,
    Field(pattern=f"^{NAME}$"),
    takes("a letter or '_', then at most 63 letters, digits, '_' or '-' (no dot, no blank)"),
]
Phase = Annotated[
    str | Annotated[list[str], Field(min_length=1)],
    takes("the name of a module, or a list of at least one for those that run in parallel"),
]
SignalName = Annotated[
    str,
    Field(pattern=f"^{SIGNAL}$", max_length=255),
    takes("parts of letters, digits, '_', '/' or '-', joined by dots, at most 255 characters"),
]
WireEnd = Annotated[str, Field(pattern=rf"^{NAME}\.{SIGNAL}$", max_length=320), takes("'module.signal'")]
EnvName = Annotated[str, Field(pattern=r"^[^=\x00]+$"), takes("a name without '='")]
EnvText = Annotated[str, Field(pattern=r"^[^\x00]*$"), takes("text; put numbers in quotes")]
Origin = Annotated[
    str,
    Field(pattern=r"^[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?$", max_length=300),
    takes("'scheme://host' or 'scheme://host:port' in lower case, without a path or a closing '/'"),
]
HostName = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$", max_length=253),
    takes("a host's name, without a port"),
]
