"""Who may connect: the rules for `Host`, `Origin` and the token, over header values, without I/O.

A page in a browser may open a WebSocket to this machine from anywhere, so a web origin gets in only where it is
listed; a name that merely resolves to this machine (DNS rebinding) is refused by its `Host`; and where other machines
or other users could reach the port, a token is asked for.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from hermes.errors import ServerExposed

_HUB = ("JUPYTERHUB_API_TOKEN", "JUPYTERHUB_SERVICE_PREFIX", "JUPYTERHUB_USER")
"""Variables by any of which a JupyterHub makes itself known: other users share its machines."""

_EVERYWHERE = {"0.0.0.0", "::"}
"""Addresses to listen on that are no names to be called by."""

_THROTTLED_KEYS = 256


class Handshake(NamedTuple):
    """What a client shows before it is let in: the request's target, and the values of all headers of a name."""

    target: str
    hosts: Sequence[str]
    origins: Sequence[str] = ()
    authorizations: Sequence[str] = ()


class Refusal(NamedTuple):
    """Why a handshake is refused: HTTP status and sentence."""

    status: int
    reason: str


class Admission:
    """The rules of one server."""

    def __init__(
        self, allowed_hosts: Sequence[str] = (), allowed_origins: Sequence[str] = (), token: str | None = None
    ) -> None:
        self._hosts = frozenset(host.lower() for host in allowed_hosts) - _EVERYWHERE
        self._origins = frozenset(allowed_origins)
        self._token = token

    def refusal(self, asked: Handshake) -> Refusal | None:
        """Return why a handshake is refused, or None to let it in.

        A host passes when it is loopback or allowed by name; an origin when it is absent, a WebSocket origin equal to
        the host (native clients), or allowed exactly. A token may come as ``Authorization: Bearer`` or as ``?ht=``.
        """
        if len(asked.hosts) != 1 or len(asked.origins) > 1:
            return Refusal(400, "one Host header and at most one Origin header are accepted")
        name = host_name(asked.hosts[0])
        if name is None or not (is_loopback(name) or name in self._hosts):
            return Refusal(403, "this Host is not served; add it to server.allowed_hosts if it is yours")
        if not self._serves_origin(asked):
            return Refusal(403, "this Origin is not served; add it to server.allowed_origins if it is yours")
        if self._token is not None and not _shows(self._token, asked):
            return Refusal(401, "a token is needed: as 'Authorization: Bearer TOKEN' or '?ht=TOKEN'")
        return None

    def _serves_origin(self, asked: Handshake) -> bool:
        if not asked.origins or asked.origins[0] in self._origins:
            return True
        own = asked.hosts[0].lower()
        return asked.origins[0].lower() in (f"ws://{own}", f"wss://{own}")


def _shows(token: str, asked: Handshake) -> bool:
    """Return whether the token was shown; comparing takes equally long for every text of its length."""
    shown = [value[7:] for value in asked.authorizations if value[:7].lower() == "bearer "]
    shown += parse_qs(asked.target.partition("?")[2]).get("ht", [])
    expected = token.encode()
    return any(hmac.compare_digest(one.encode("utf-8", "surrogateescape"), expected) for one in shown)


def session_token(setting: str | None, environment: Mapping[str, str]) -> str | None:
    """Return the token for a `server.token` setting: a new one for ``auto``, none for ``none``, else the text itself.

    Left out, it is ``auto`` on a JupyterHub and ``none`` elsewhere.
    """
    if setting is None:
        setting = "auto" if any(name in environment for name in _HUB) else "none"
    return {"auto": secrets.token_urlsafe(32), "none": None}.get(setting, setting)


def refuse_exposure(host: str, token: str | None) -> None:
    """Raise ServerExposed where a server on `host` would be reachable from other machines without a token."""
    if token is None and not is_loopback(host):
        raise ServerExposed(host)


def host_name(host: str) -> str | None:
    """Return the name in a `Host` header without its port, lower case and without brackets; None where it is none."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return None
    return parts.hostname if parts.username is None and parts.netloc == host else None


def is_loopback(name: str) -> bool:
    """Return whether a host name or address is this machine's loopback."""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class Throttle:
    """Lets each key pass once in `seconds`, and no more than a few hundred keys: for lines in a log."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._passed: dict[str, float] = {}

    def passes(self, key: str, now: float) -> bool:
        """Return whether `key` passes at `now`."""
        self._passed = {known: at for known, at in self._passed.items() if now - at < self._seconds}
        if key in self._passed or len(self._passed) >= _THROTTLED_KEYS:
            return False
        self._passed[key] = now
        return True
