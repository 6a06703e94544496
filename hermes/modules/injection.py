"""Hold values for others to read: a module without behaviour, for references, test inputs and disturbances.

List the values in the configuration::

    inputs:
      type: script
      script: hermes.modules.injection:Injection
      signals:
        - {name: thrust, unit: N, writable: true, initial: 0.0}

The worker adds these signals to the module. Being inputs that no wire drives they are set from outside, from a
notebook, a viewer or a list of commands, and a reset returns them to their initial values; unlike other inputs they
may stand at the start of a wire.
"""

from __future__ import annotations

from hermes.module import Module


class Injection(Module):
    """Hold the signals that the configuration lists."""

    def step(self, time: float, dt: float) -> None:
        """Leave everything as it is."""
