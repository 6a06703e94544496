from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes import Input, Module, Output, Parameter
from hermes.backplane.signals import Signal, SignalKind, SignalType
from hermes.errors import BadValue
from hermes.module import Declaration, bind, class_declarations, declare_all, write_initials


class Plant(Module):
    force = Input(unit="N")
    mass = Parameter(2.0, unit="kg", limits=(0.1, 10.0))
    x = Output(initial=1.0, unit="m", description="place on the rail")
    small = Output(type="f32", initial=0.5)
    long = Output(type="i64", initial=-(2**63))
    short = Output(type="i32", initial=7)
    ready = Output(type="bool", initial=True)
    attitude = Output(labels=("roll", "pitch", "yaw"), initial=(0.1, 0.2, 0.3))
    counts = Output(type="i32", labels=("a", "b"))

    def step(self, time: float, dt: float) -> None:
        self.x += self.force / self.mass * dt
        self.attitude += dt


def bound(module: Module, declared: dict[str, Declaration] | None = None) -> tuple[bytearray, bytearray]:
    declared = declare_all(module) if declared is None else declared
    sizes = dict.fromkeys(SignalKind, 0)
    for declaration in declared.values():
        sizes[declaration.kind] += 8 * len(declaration.initials)
    outputs = bytearray(sizes[SignalKind.OUTPUT])
    inputs = bytearray(sizes[SignalKind.INPUT] + sizes[SignalKind.PARAMETER])
    write_initials(declared, memoryview(outputs), memoryview(inputs))
    bind(module, declared, memoryview(outputs), memoryview(inputs).toreadonly())
    return outputs, inputs


def test_a_module_works_on_its_own() -> None:
    plant = Plant()
    assert (plant.x, plant.mass, plant.force, plant.ready) == (1.0, 2.0, 0.0, True)
    plant.force = 4.0
    plant.step(0.0, 0.5)
    assert plant.x == 2.0
    assert plant.attitude.tolist() == [0.6, 0.7, 0.8]
    assert Plant().x == 1.0, "instances share no cells"


SCALARS = [
    ("x", 0.1, 0.1),
    ("x", 3, 3.0),
    ("x", np.float64(0.1), 0.1),
    ("x", math.inf, math.inf),
    ("small", 0.1, float(np.float32(0.1))),
    ("long", 2**63 - 1, 2**63 - 1),
    ("long", np.int64(-5), -5),
    ("short", -(2**31), -(2**31)),
    ("ready", False, False),
    ("ready", np.bool_(False), False),
]


@pytest.mark.parametrize(("name", "value", "read"), SCALARS)
def test_scalars_read_back_as_python_values(name: str, value: Any, read: object) -> None:
    unbound, in_shared_cells = Plant(), Plant()
    bound(in_shared_cells)
    for plant in (unbound, in_shared_cells):
        setattr(plant, name, value)
        assert getattr(plant, name) == plant[name] == read
        assert type(getattr(plant, name)) is type(read)


REFUSED = [
    ("x", "7"),
    ("x", None),
    ("x", np.zeros(3)),
    ("small", "1"),
    ("long", 1.0),
    ("long", 2**63),
    ("short", 1.9),
    ("short", 2**31),
    ("short", "7"),
    ("ready", "false"),
    ("ready", 1),
    ("ready", None),
]


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_a_value_that_does_not_fit_is_refused_and_changes_nothing(name: str, value: Any) -> None:
    plant = Plant()
    before = plant[name]
    kind = class_declarations(Plant)[name].type
    with pytest.raises(ValueError, match=rf"^{name} \({kind}\) cannot hold {re.escape(repr(value))}$"):
        setattr(plant, name, value)
    assert plant[name] == before


def test_labels_are_numpy_views_of_the_cells() -> None:
    plant = Plant()
    outputs, _ = bound(plant)
    plant.attitude[1] = 5.0
    plant.attitude += 1.0
    plant.counts = (3, -4)
    view = plant.attitude
    plant.attitude = [7.0, 8.0, 9.0]
    assert view.tolist() == [7.0, 8.0, 9.0]
    assert (view.dtype, view.strides, plant.counts.dtype) == (np.float64, (8,), np.int32)
    assert np.frombuffer(outputs, np.float64, 3, offset=8 * 5).tolist() == [7.0, 8.0, 9.0]
    assert bytes(outputs[8 * 8 :]) == (3).to_bytes(8, "little") + (-4).to_bytes(4, "little", signed=True) + bytes(4)


def test_cells_are_outputs_in_order_and_inputs_before_parameters() -> None:
    class Mixed(Module):
        gain = Parameter(3.0)
        u = Input(1.0)
        y = Output(type="i32", initial=5)
        flag = Output(type="bool", initial=True)
        w = Input(2.0)

    mixed = Mixed()
    outputs, inputs = bound(mixed)
    assert outputs == (5).to_bytes(8, "little") + (1).to_bytes(8, "little")
    assert np.frombuffer(inputs).tolist() == [1.0, 2.0, 3.0]
    np.frombuffer(inputs)[1:] = [7.0, 8.0]
    assert (mixed.u, mixed.w, mixed.gain) == (1.0, 7.0, 8.0)
    mixed.y, mixed.flag = -1, False
    assert outputs == b"\xff\xff\xff\xff" + bytes(12)
    assert (mixed.y, mixed.flag) == (-1, False)


def test_a_bound_module_cannot_write_its_inputs() -> None:
    class Reads(Module):
        u = Input(1.0)
        gain = Parameter(2.0)
        many = Input(labels=("a", "b"))

    reads = Reads()
    reads.u = 3.0
    bound(reads)
    assert reads.u == 1.0
    with pytest.raises(AttributeError, match=r"^u is an input and cannot be written by its module$"):
        reads.u = 2.0
    with pytest.raises(AttributeError, match=r"^gain is an? parameter and cannot be written by its module$"):
        reads["gain"] = 2.0
    with pytest.raises(AttributeError, match=r"^many is an input"):
        reads.many = [1.0, 2.0]
    with pytest.raises(ValueError, match="read-only"):
        reads.many[0] = 1.0
    assert (reads.u, reads.gain, reads.many.tolist()) == (1.0, 2.0, [0.0, 0.0])


def test_initials_return_without_touching_inputs() -> None:
    plant = Plant()
    declared = declare_all(plant)
    outputs, inputs = bound(plant, declared)
    fresh = bytes(outputs)
    plant.x = 99.0
    inputs[:8] = b"\1" * 8
    write_initials(declared, memoryview(outputs), None)
    assert bytes(outputs) == fresh
    assert inputs[:8] == b"\1" * 8


def test_an_unknown_item_lists_what_there_is() -> None:
    names = "x, small, long, short, ready, attitude, counts, force, mass"
    for act in (lambda p: p["y"], lambda p: p.__setitem__("y", 1.0), lambda p: p.set_initial("y", 1.0)):
        with pytest.raises(KeyError) as caught:
            act(Plant())
        assert caught.value.args == (f"Plant declares no signal 'y'; it declares: {names}",)

    class Empty(Module):
        pass

    with pytest.raises(KeyError, match="Empty declares no signal 'y'; it declares: none"):
        Empty()["y"]


def test_set_initial() -> None:
    class Tunable(Plant):
        def __init__(self, start: float) -> None:
            self.set_initial("x", start)
            self.set_initial("attitude", [1.0, 2.0, 3.0])
            self.set_initial("counts", 4)

    tunable = Tunable(5.0)
    assert (tunable.x, tunable.attitude.tolist(), tunable.counts.tolist()) == (5.0, [1.0, 2.0, 3.0], [4, 4])
    bound(tunable)
    assert tunable.x == 5.0
    assert Plant().x == class_declarations(Tunable)["x"].initials[0] == 1.0
    with pytest.raises(BadValue, match=r"^Plant\.mass cannot be 0\.0; it takes .* within 0\.1 to 10, in kg$"):
        Plant().set_initial("mass", 0.0)
    with pytest.raises(BadValue, match=r"^Plant\.short cannot be 1\.5; it takes a whole number"):
        Plant().set_initial("short", 1.5)
    with pytest.raises(ValueError, match=r"^2 initial values for 3 labels$"):
        Plant().set_initial("attitude", [1.0, 2.0])


def test_declarations_that_contradict_themselves_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^1 initial values for 2 labels$"):
        Output(initial=[1.0], labels=("a", "b"))
    with pytest.raises(ValueError, match=r"^2 initial values for 0 labels$"):
        Output(initial=[1.0, 2.0])
    with pytest.raises(ValueError, match="f16"):
        Output(type="f16")
    with pytest.raises(BadValue, match=r"^m\.x cannot be 0\.1 \(the nearest f32 is 0\.10000000149011612\)"):
        Output(type="f32", initial=0.1).signals("m", "x")


def test_what_a_declaration_means_as_signals() -> None:
    assert class_declarations(Plant)["x"].signals("plant", "x") == [
        Signal("plant", "x", SignalKind.OUTPUT, SignalType.F64, "m", "place on the rail", 1.0, None, False)
    ]
    vector = Input(type="i32", labels=("a", "b"), initial=2, limits=(0, 5)).signals("m", "v")
    assert [(one.name, one.kind, one.initial, one.limits) for one in vector] == [
        ("v.a", SignalKind.INPUT, 2, (0, 5)),
        ("v.b", SignalKind.INPUT, 2, (0, 5)),
    ]
    (flag,) = Output(type="bool").signals("m", "flag")
    assert flag.initial is False
    (real,) = Output(initial=3).signals("m", "real")
    assert isinstance(real.initial, float)


def test_replaced_copies_everything_else() -> None:
    after = Plant.x.replaced(initial=4.0, unit="ft")
    assert (after.initials, after.unit, after.description, after.name) == ((4.0,), "ft", "place on the rail", "x")
    assert isinstance(after, Output)
    assert (Plant.x.initials, Plant.x.unit) == ((1.0,), "m")


def test_subclasses_inherit_override_and_remove_declarations() -> None:
    class Further(Plant):
        mass = Parameter(3.0)  # type: ignore[assignment]
        force = None  # type: ignore[assignment]
        added = Output()

    assert list(class_declarations(Further)) == [
        "mass", "x", "small", "long", "short", "ready", "attitude", "counts", "added",
    ]  # fmt: skip
    assert Further().mass == 3.0
    assert isinstance(Further.added, Output)


def test_declare_adds_signals_that_depend_on_data() -> None:
    class Table(Module):
        y = Output()

        def declare(self) -> Mapping[str, Declaration]:
            return {"row.1": Output(2.0), "row.2": Input(3.0)}

    table = Table()
    outputs, _ = bound(table)
    assert (table["row.1"], table["row.2"]) == (2.0, 3.0)
    table["row.1"] = 5.0
    assert np.frombuffer(outputs).tolist() == [0.0, 5.0]


@pytest.mark.parametrize(
    ("returned", "error", "text"),
    [
        ({"y": Output()}, ValueError, "^declare\\(\\) declares 'y', which the class declares already$"),
        ({"z": 1.0}, TypeError, "^declare\\(\\) returned 1.0 for 'z'; Input, Output or Parameter is accepted$"),
    ],
)
def test_declare_is_checked(returned: dict[str, Any], error: type[Exception], text: str) -> None:
    class Wrong(Module):
        y = Output()

        def declare(self) -> Mapping[str, Declaration]:
            return returned

    with pytest.raises(error, match=text):
        declare_all(Wrong())


def test_step_is_missing() -> None:
    Module().reset()
    Module().close()
    with pytest.raises(TypeError, match=r"^Module has no step\(self, time, dt\)$"):
        Module().step(0.0, 0.1)


@given(st.floats(), st.integers(-(2**63), 2**63 - 1), st.booleans())
def test_any_value_of_the_type_is_kept_to_the_bit(real: float, whole: int, flag: bool) -> None:
    plant = Plant()
    outputs, _ = bound(plant)
    plant.x, plant.long, plant.ready = real, whole, flag
    assert outputs[:8] == np.float64(real).tobytes()
    assert (plant.long, plant.ready) == (whole, flag)
