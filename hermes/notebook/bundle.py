"""The front end: JavaScript and styles, made from `js/` when the package is built."""

from __future__ import annotations

from importlib.resources import files

WITHOUT = (
    "live plots and tables need Hermes' front end, which was not built when this copy of Hermes was installed "
    "(that takes node and npm's registry): install it again, or from a wheel"
)
"""What a page says where there is none."""


def bundled(name: str) -> str | None:
    """Return the text of a built file, as ``plot.js``, or None where the front end was not built."""
    try:
        return (files("hermes.notebook") / "static" / name).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
