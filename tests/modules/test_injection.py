from __future__ import annotations

from hermes.module import Input, bind, write_initials
from hermes.modules.injection import Injection


def test_declares_nothing_of_its_own() -> None:
    assert dict(Injection().declare()) == {}
    assert Injection()._declared == {}


def test_step_and_reset_leave_listed_values_alone() -> None:
    listed = {"thrust": Input(2.5, unit="N"), "gear.down": Input(True, type="bool")}
    outputs, inputs = memoryview(bytearray(0)), memoryview(bytearray(16))
    write_initials(listed, outputs, inputs)
    module = Injection()
    bind(module, listed, outputs, inputs.toreadonly())
    before = bytes(inputs)
    module.reset()
    module.step(0.0, 0.01)
    assert bytes(inputs) == before
    assert (module["thrust"], module["gear.down"]) == (2.5, True)
