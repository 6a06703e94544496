"""What a module's author imports: `Module` and its `Input`, `Output` and `Parameter` declarations.

A declaration is a class attribute that reads and writes one cell (or, with labels, a NumPy view of several). Before a
worker binds an instance to shared memory its cells are private, so a module can be constructed and stepped in a plain
unit test. This file knows no process and no engine, and imports neither asyncio nor a web library: its import time is
paid by every module process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from hermes.backplane.signals import Signal, SignalKind, SignalType, Value, decode_cell, encode_cell
from hermes.randomness import Stream

_VIEW = {SignalType.F64: "d", SignalType.F32: "f", SignalType.I64: "q", SignalType.I32: "i", SignalType.BOOL: "?"}
"""memoryview format of a type."""

_DTYPE = {
    SignalType.F64: np.float64,
    SignalType.F32: np.float32,
    SignalType.I64: np.int64,
    SignalType.I32: np.int32,
    SignalType.BOOL: np.bool_,
}


Cell = memoryview | np.ndarray[Any, Any]
"""Where a signal's value is: the first item of a view, or with labels an array of all components."""


class Declaration:
    """A signal, or a labelled vector of signals, of a module; use `Input`, `Output` or `Parameter`.

    `initial` is the value after start and reset (one for all labels, or one each), `unit` an SI symbol such as
    ``"m/s"``, `type` one of ``f64 f32 i64 i32 bool``, `labels` the names of a vector's components, `limits` the
    inclusive range that commands may set, and `allow_nonfinite` lets commands set NaN and infinities.
    """

    kind: ClassVar[SignalKind]

    def __init__(
        self,
        initial: Value | Sequence[Value] = 0.0,
        *,
        type: str = "f64",  # noqa: A002 - the word that YAML and the wire use
        unit: str = "",
        description: str = "",
        labels: Sequence[str] = (),
        limits: tuple[float, float] | None = None,
        allow_nonfinite: bool = False,
    ) -> None:
        """Declare; raises ValueError where type, labels and initial do not go together."""
        self.name = ""
        self.type = SignalType(type)
        self.unit = unit
        self.description = description
        self.labels = tuple(labels)
        self.limits = limits
        self.allow_nonfinite = allow_nonfinite
        if isinstance(initial, Sequence) and not isinstance(initial, str):
            if len(initial) != len(self.labels):
                raise ValueError(f"{len(initial)} initial values for {len(self.labels)} labels")
            self.initials: tuple[Value, ...] = tuple(initial)
        else:
            start = False if self.type is SignalType.BOOL and initial == 0 else initial
            self.initials = (start,) * max(1, len(self.labels))

    def __set_name__(self, owner: type, name: str) -> None:
        """Learn the attribute's name."""
        self.name = name

    def __get__(self, instance: Module | None, owner: type) -> Any:
        """Return the current value: a Python scalar, or with labels a NumPy view of all components."""
        if instance is None:
            return self
        cell = instance._cells[self.name]
        return cell[0] if type(cell) is memoryview else cell

    def __set__(self, instance: Module, value: Any) -> None:
        """Write the value; in a running module only outputs can be written."""
        try:
            instance._numbers[self.name][0] = value
        except (KeyError, TypeError, ValueError):
            instance[self.name] = value  # which says what is wrong

    def replaced(self, **settings: Any) -> Declaration:
        """Return a copy with some of the constructor's keywords replaced; raises what the constructor raises."""
        keys = ("type", "unit", "description", "labels", "limits", "allow_nonfinite")
        now: dict[str, Any] = {key: getattr(self, key) for key in keys}
        now["initial"] = self.initials if self.labels else self.initials[0]
        copy = type(self)(**{**now, **settings})
        copy.name = self.name
        return copy

    def signals(self, module: str, name: str) -> list[Signal]:
        """Return the signals this declares, qualified by `module`.

        Raises BadValue where an initial value does not fit the type or the limits.
        """
        names = [f"{name}.{label}" for label in self.labels] or [name]
        found = [
            Signal(
                module,
                one,
                self.kind,
                self.type,
                self.unit,
                self.description,
                initial,
                self.limits,
                self.allow_nonfinite,
            )
            for one, initial in zip(names, self.initials, strict=True)
        ]
        return [one._replace(initial=decode_cell(one.type, encode_cell(one, one.initial))) for one in found]


class Input(Declaration):
    """A signal that a wire or a command writes and the module reads."""

    kind = SignalKind.INPUT


class Output(Declaration):
    """A signal that the module writes."""

    kind = SignalKind.OUTPUT


class Parameter(Declaration):
    """A constant of the module that commands may tune while it runs; never wired."""

    kind = SignalKind.PARAMETER


class Module:
    """A simulation module: subclass it, declare signals, and write `step`.

    The same instance lives for the whole session: state kept outside signals belongs back to its beginning in
    `reset`, or a rerun differs. Signals are attributes, and also items by name: ``self["position.x"]``.
    """

    _declared: dict[str, Declaration]
    _cells: dict[str, Cell]
    _numbers: dict[str, memoryview]  # those cells that may be written and need no further check
    _bound: bool
    _stream: Stream

    def __new__(cls, *_args: Any, **_keywords: Any) -> Module:
        """Give the instance private cells, so that signals work before and without a worker."""
        self = super().__new__(cls)
        self._declared = class_declarations(cls)
        self._bound = False
        self._stream = Stream(cls.__name__)
        self._use_private_cells()
        return self

    @cached_property
    def rng(self) -> np.random.Generator:
        """The module's own random numbers, from `execution.seed` and its name; from the beginning after each reset."""
        return self._stream.generator

    def declare(self) -> Mapping[str, Declaration]:
        """Return further signals that depend on data, by name (dots allowed); called once, after `__init__`."""
        return {}

    def reset(self) -> None:
        """Return to the initial conditions; all signals already hold their initial values."""

    def step(self, time: float, dt: float) -> None:
        """Advance the state from `time` to `time + dt`, both in seconds of simulation time."""
        raise TypeError(f"{type(self).__name__} has no step(self, time, dt)")

    def close(self) -> None:
        """Release what the module holds; called once when the session ends in order."""

    def set_initial(self, name: str, value: Value | Sequence[Value]) -> None:
        """Give a signal of this instance another initial value; for constructors, before a worker binds the instance.

        Raises KeyError for a name that is not declared and BadValue where the value does not fit.
        """
        self._cell(name)
        declaration = self._declared[name].replaced(initial=value)
        declaration.signals(type(self).__name__, name)
        self._declared = {**self._declared, name: declaration}
        self._use_private_cells()

    def __getitem__(self, name: str) -> Any:
        """Return a signal's value by name."""
        cell = self._cell(name)
        return cell[0] if type(cell) is memoryview else cell

    def __setitem__(self, name: str, value: Any) -> None:
        """Write a signal's value by name; raises ValueError where it does not fit the type."""
        cell = self._cell(name)
        if self._bound and self._declared[name].kind is not SignalKind.OUTPUT:
            raise AttributeError(f"{name} is an {self._declared[name].kind} and cannot be written by its module")
        if isinstance(cell, np.ndarray):
            cell[:] = value
            return
        try:
            if cell.format == "?" and not isinstance(value, bool | np.bool_):
                raise TypeError("a memoryview would take the truth of anything")
            cell[0] = value
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name} ({self._declared[name].type}) cannot hold {value!r}") from error

    def _cell(self, name: str) -> Cell:
        try:
            return self._cells[name]
        except KeyError:
            known = ", ".join(self._cells) or "none"
            raise KeyError(f"{type(self).__name__} declares no signal {name!r}; it declares: {known}") from None

    def _use_private_cells(self) -> None:
        sizes = [0, 0]
        for declaration in self._declared.values():
            sizes[declaration.kind is not SignalKind.OUTPUT] += 8 * len(declaration.initials)
        outputs, inputs = (memoryview(bytearray(size)) for size in sizes)
        write_initials(self._declared, outputs, inputs)
        self._use(outputs, inputs)

    def _use(self, outputs: memoryview, inputs: memoryview) -> None:
        """Let the signals live in these cells."""
        self._cells = dict(_cells(self._declared, outputs, inputs))
        writable = [n for n, d in self._declared.items() if d.kind is SignalKind.OUTPUT or not self._bound]
        views = {name: cell for name in writable if isinstance(cell := self._cells[name], memoryview)}
        self._numbers = {name: view for name, view in views.items() if view.format != "?"}


def class_declarations(cls: type) -> dict[str, Declaration]:
    """Return the declarations of a class and its bases by name, bases first, in order of definition."""
    found: dict[str, Declaration] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, Declaration):
                found[name] = value
            else:
                found.pop(name, None)
    return found


def declare_all(module: Module) -> dict[str, Declaration]:
    """Add what `declare()` returns to a new instance's declarations and return them all.

    Raises TypeError where `declare()` returns anything but a mapping of names to declarations, and ValueError where
    it declares a name twice.
    """
    further = dict(module.declare())
    for name, declaration in further.items():
        if not isinstance(declaration, Declaration):
            raise TypeError(f"declare() returned {declaration!r} for {name!r}; Input, Output or Parameter is accepted")
        if name in module._declared:
            raise ValueError(f"declare() declares {name!r}, which the class declares already")
    return {**module._declared, **further}


def bind(module: Module, declared: dict[str, Declaration], outputs: memoryview, inputs: memoryview) -> None:
    """Let the instance's signals live in the cells of `outputs` (writable) and `inputs` (read-only, inputs first)."""
    module._declared = declared
    module._bound = True
    module._use(outputs, inputs)


def write_initials(declared: dict[str, Declaration], outputs: memoryview, inputs: memoryview | None) -> None:
    """Write every declaration's initial values into the cells; `inputs` None leaves those alone."""
    for block, names in zip((outputs, inputs), _blocks(declared), strict=True):
        if block is None:
            continue
        cells = [cell for name in names for cell in _initial_cells(name, declared[name])]
        block[: 8 * len(cells)] = b"".join(cells)


def _initial_cells(name: str, declaration: Declaration) -> Iterator[bytes]:
    for signal in declaration.signals("", name):
        yield encode_cell(signal, signal.initial).to_bytes(8, "little")


def _blocks(declared: dict[str, Declaration]) -> tuple[list[str], list[str]]:
    """Return the names in the order of their cells: outputs; inputs followed by parameters."""
    by_kind: dict[SignalKind, list[str]] = {kind: [] for kind in SignalKind}
    for name, declaration in declared.items():
        by_kind[declaration.kind].append(name)
    return by_kind[SignalKind.OUTPUT], by_kind[SignalKind.INPUT] + by_kind[SignalKind.PARAMETER]


def _cells(declared: dict[str, Declaration], outputs: memoryview, inputs: memoryview) -> Iterator[tuple[str, Cell]]:
    for block, names in zip((outputs, inputs), _blocks(declared), strict=True):
        offset = 0
        for name in names:
            declaration = declared[name]
            count = len(declaration.initials)
            if declaration.labels:
                shape, dtype = (count,), _DTYPE[declaration.type]
                yield name, np.ndarray(shape, dtype, buffer=block, offset=offset, strides=(8,))
            else:
                view: memoryview = block[offset : offset + 8].cast(_VIEW[declaration.type])  # type: ignore[call-overload]
                yield name, view
            offset += 8 * count
