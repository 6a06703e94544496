"""Hermes: a simulation kernel for notebooks.

`Session` runs simulation modules as processes in lock-step frames over shared memory and serves their signals over a
WebSocket; `Client` attaches to one that runs elsewhere. `Module`, `Input`, `Output` and `Parameter` are what a module's
author needs.

Names load on first use: a module process imports this package and pays for no more than it touches.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hermes import examples
    from hermes.asyncclient import AsyncClient
    from hermes.asyncsession import AsyncSession
    from hermes.client import Client
    from hermes.config import HermesConfig
    from hermes.errors import ConfigurationError, HermesError, ModuleDied, ModuleError, ModuleFailed, ModuleHung
    from hermes.history.recording import Recording
    from hermes.history.table import History
    from hermes.module import Input, Module, Output, Parameter
    from hermes.session import Session
    from hermes.verification.running import verify

__version__ = "0.1.0"

_HOMES = {
    "AsyncClient": "hermes.asyncclient",
    "AsyncSession": "hermes.asyncsession",
    "Client": "hermes.client",
    "ConfigurationError": "hermes.errors",
    "HermesConfig": "hermes.config",
    "HermesError": "hermes.errors",
    "History": "hermes.history.table",
    "Input": "hermes.module",
    "Module": "hermes.module",
    "ModuleDied": "hermes.errors",
    "ModuleError": "hermes.errors",
    "ModuleFailed": "hermes.errors",
    "ModuleHung": "hermes.errors",
    "Output": "hermes.module",
    "Parameter": "hermes.module",
    "Recording": "hermes.history.recording",
    "Session": "hermes.session",
    "examples": "hermes.examples",
    "verify": "hermes.verification.running",
}

__all__ = [
    "AsyncClient",
    "AsyncSession",
    "Client",
    "ConfigurationError",
    "HermesConfig",
    "HermesError",
    "History",
    "Input",
    "Module",
    "ModuleDied",
    "ModuleError",
    "ModuleFailed",
    "ModuleHung",
    "Output",
    "Parameter",
    "Recording",
    "Session",
    "examples",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hermes' has no attribute {name!r}")
    home = importlib.import_module(_HOMES[name])
    value = home if _HOMES[name] == f"hermes.{name}" else getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
