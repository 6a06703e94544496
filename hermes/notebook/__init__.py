"""What a notebook shows of a session. The packages that draw are optional and imported when they are first needed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hermes.errors import HermesError

if TYPE_CHECKING:
    from hermes.notebook.controls import Controls
    from hermes.run import Run


def controls_of(run: Run, loop: asyncio.AbstractEventLoop) -> Controls:
    """Return the panel of a started run that lives on `loop`; raises HermesError where a package is missing."""
    try:
        from hermes.notebook.controls import Controls  # noqa: PLC0415 - optional dependencies, needed here only
    except ModuleNotFoundError as error:
        raise HermesError(f'controls() needs {error.name}: pip install "hermes-sim[notebook]"') from None
    return Controls(run, loop)
