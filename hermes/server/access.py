"""Who may connect: the rules for `Host` and `Origin`, over header values, without I/O.

A page in a browser may open a WebSocket to this machine from anywhere, so a web origin gets in only where it is
listed; and a name that merely resolves to this machine (DNS rebinding) is refused by its `Host`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit


def refusal(
    hosts: Sequence[str], origins: Sequence[str], allowed_hosts: Sequence[str], allowed_origins: Sequence[str]
) -> tuple[int, str] | None:
    """Return the HTTP status and sentence with which to refuse a handshake, or None to let it in.

    `hosts` and `origins` are the values of all such headers. A host passes when it is loopback or allowed by name; an
    origin when it is absent, a WebSocket origin equal to the host (native clients), or allowed exactly.
    """
    if len(hosts) != 1 or len(origins) > 1:
        return 400, "one Host header and at most one Origin header are accepted"
    name = host_name(hosts[0])
    if name is None or not (is_loopback(name) or name in {allowed.lower() for allowed in allowed_hosts}):
        return 403, "this Host is not served; add it to server.allowed_hosts if it is yours"
    if not origins or origins[0] in allowed_origins:
        return None
    if origins[0].lower() in (f"ws://{hosts[0]}".lower(), f"wss://{hosts[0]}".lower()):
        return None
    return 403, "this Origin is not served; add it to server.allowed_origins if it is yours"


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
