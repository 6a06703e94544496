"""The configuration: what a YAML file may say, as frozen models.

The models say what each key takes; `hermes.configproblems` turns what they refuse into sentences and checks what no
single key can know (wires against modules, names against each other). Types are strict: text is never read as a
number, and true is not 1. `HermesConfig.from_yaml` reports everything at once, each with its place in the file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from hermes.commands import RATE_LIMIT
from hermes.configfields import (
    MAX_END_TIME,
    MAX_EVERY,
    MAX_RATE,
    NAME,
    EnvName,
    EnvText,
    Flag,
    HostName,
    Limits,
    ModuleName,
    Number,
    Origin,
    Phase,
    ScriptTarget,
    SignalName,
    WireEnd,
    checked_host,
    checked_rate,
    checked_script,
    checked_token,
    exact,
    script_target,
)
from hermes.configproblems import (
    as_validation_error,
    combined_findings,
    configuration_error,
    findings_in,
    key_path,
    missing_scripts,
    takes,
)
from hermes.configschedule import DEFAULT_RESTARTS, MAX_RESTARTS, schedule_findings
from hermes.givenmodules import Given, placed
from hermes.moduleclass import ModuleClass
from hermes.timedcommands import TimedCommand, command_findings
from hermes.yamlfile import Document, KeyPath, parse_yaml, read_yaml


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class SignalConfig(_Strict):
    """One signal of a module: adds to what the module declares, or checks it."""

    name: SignalName = Field(description="the signal's name within its module")
    type: Annotated[Literal["f64", "f32", "i64", "i32", "bool"] | None, takes("f64, f32, i64, i32 or bool")] = Field(
        default=None, description="the type of its cell; as declared if left out, f64 for a new signal"
    )
    unit: Annotated[str | None, takes("text")] = Field(default=None, description="the unit of its value, such as m/s")
    writable: Annotated[bool | None, takes("true or false")] = Field(
        default=None, description="true makes a new signal an input, false an output"
    )
    initial: Annotated[
        Annotated[float, Field(allow_inf_nan=True)] | int | bool | None, takes("a number, true or false")
    ] = Field(default=None, description="its value in frame 0, in its unit")
    limits: Annotated[Limits | None, takes("two finite numbers [low, high], low not above high")] = Field(
        default=None, description="[low, high]: the least and the greatest value a command may set, in its unit"
    )
    allow_nonfinite: Annotated[bool | None, takes("true or false")] = Field(
        default=None, description="whether infinities and NaN are legal values"
    )
    description: Annotated[str | None, takes("text")] = Field(
        default=None, description="one sentence for whoever reads it"
    )


class ModuleConfig(_Strict):
    """One module: a process that runs a script."""

    type: Annotated[Literal["script"], takes("script")] = Field(description="the kind of module: script")
    script: Annotated[
        str,
        AfterValidator(checked_script),
        takes("'./file.py', './file.py:Class', 'package.module' or 'package.module:Class'"),
    ] = Field(description="the file (relative to the YAML file) or package that defines the module, and its class")
    params: dict[str, Any] = Field(
        default_factory=dict, description="values for the module's parameters and constructor keywords"
    )
    env: dict[EnvName, EnvText] = Field(
        default_factory=dict, description="environment variables for the module's process"
    )
    signals: list[SignalConfig] = Field(
        default_factory=list, description="signals to add to, or check against, those it declares"
    )
    worker: ModuleName | None = Field(
        default=None, description="the process it shares with other modules of the same worker; its own if left out"
    )
    every: Annotated[int, Field(ge=1, le=MAX_EVERY), takes(f"a whole number from 1 to {MAX_EVERY} (frames)")] = Field(
        default=1, description="it steps in every N-th frame, with N times the step (frames)"
    )
    on_failure: Annotated[Literal["fail", "restart"], takes("fail or restart")] = Field(
        default="fail", description="where it fails: fail ends the run, restart starts it anew while the frames go on"
    )
    max_restarts: Annotated[
        int | None, Field(ge=1, le=MAX_RESTARTS), takes(f"a whole number from 1 to {MAX_RESTARTS}")
    ] = Field(default=None, description="how often it is started anew before its failure ends the run; 3 if left out")

    @property
    def restarts(self) -> int:
        """How often it is started anew between two resets before its failure ends the run."""
        if self.on_failure == "fail":
            return 0
        return DEFAULT_RESTARTS if self.max_restarts is None else self.max_restarts

    @property
    def target(self) -> ScriptTarget:
        """What `script` names; a file is as written, relative to the configuration's `base`."""
        return script_target(self.script)


class WireConfig(_Strict):
    """One wire: every frame, `dst` receives ``src * gain + offset``."""

    src: WireEnd = Field(description="the signal read, as 'module.signal'")
    dst: WireEnd = Field(description="the input written, as 'module.signal'; of several wires to it the last one wins")
    gain: Number = Field(default=1.0, description="factor, in units of dst per unit of src")
    offset: Number = Field(default=0.0, description="added after the gain, in the unit of dst")


class ExecutionConfig(_Strict):
    """How frames are paced and when they end."""

    mode: Annotated[Literal["realtime", "afap", "single_frame"], takes("realtime, afap or single_frame")] = Field(
        default="realtime", description="realtime follows the clock, afap does not wait, single_frame only steps"
    )
    rate_hz: Annotated[
        int | float | str,
        AfterValidator(checked_rate),
        takes(f"a number or a ratio such as '60000/1001', above 0 and at most {MAX_RATE} (Hz)"),
    ] = Field(default=60, description="frames per simulated second, read exactly as written (Hz)")
    end_time: Annotated[
        float | None, Field(gt=0, le=MAX_END_TIME), takes("a number above 0 and at most 1e9 (seconds)")
    ] = Field(default=None, description="simulated seconds after which the run is finished; endless if left out")
    seed: Annotated[int, Field(ge=0, lt=2**32), takes("a whole number from 0 to 4294967295")] = Field(
        default=0, description="seed of every module's random numbers"
    )
    start_timeout: Annotated[float, Field(gt=0), takes("a number above 0 (seconds)")] = Field(
        default=10.0, description="wall-clock seconds a module may take to start"
    )
    step_timeout: Annotated[float, Field(ge=0), takes("a number of at least 0 (seconds; 0 turns it off)")] = Field(
        default=5.0, description="wall-clock seconds a module may take for one step; 0 turns the limit off"
    )
    stop_timeout: Annotated[float, Field(gt=0), takes("a number above 0 (seconds)")] = Field(
        default=1.0, description="wall-clock seconds a module may take to stop before it is ended"
    )
    schedule: list[Phase] = Field(
        default_factory=list,
        description="the modules in the order of their phases, in brackets those of one phase; all in one if left out",
    )

    @property
    def phases(self) -> tuple[tuple[str, ...], ...]:
        """The names of the modules of each phase; () where all are in one."""
        return tuple((phase,) if isinstance(phase, str) else tuple(phase) for phase in self.schedule)

    @property
    def rate(self) -> Fraction:
        """Frames per simulated second, exactly (Hz)."""
        return exact(self.rate_hz)

    @property
    def end_frame(self) -> int | None:
        """The first frame at or after `end_time`, computed exactly; None without an end."""
        return None if self.end_time is None else math.ceil(exact(self.end_time) * self.rate)


class BackplaneConfig(_Strict):
    """The shared memory that holds the frames."""

    history: Annotated[int, Field(ge=8, le=1_000_000), takes("a whole number from 8 to 1000000")] = Field(
        default=1024, description="how many frames are kept for readers that come late"
    )
    history_mib: Annotated[int, Field(ge=1, le=65_536), takes("a whole number from 1 to 65536 (MiB)")] = Field(
        default=64, description="memory in which the session keeps frames for history() (MiB); beyond, fewer old ones"
    )


class ServerConfig(_Strict):
    """The WebSocket server for telemetry and commands."""

    enabled: Flag = Field(default=True, description="whether the server runs")
    host: Annotated[
        str,
        AfterValidator(checked_host),
        takes("an address such as 127.0.0.1, ::1 or 0.0.0.0, or localhost"),
    ] = Field(default="127.0.0.1", description="the address to listen on; other than loopback only with a token")
    port: Annotated[int, Field(ge=0, le=65535), takes("a whole number from 0 to 65535 (0 = a free port)")] = Field(
        default=8765, description="the TCP port to listen on; 0 takes a free one"
    )
    telemetry_hz: Annotated[
        float, Field(gt=0, le=RATE_LIMIT), takes(f"a number above 0 and at most {RATE_LIMIT} (Hz)")
    ] = Field(default=60.0, description="telemetry messages per wall-clock second and client, at most (Hz)")
    control: Annotated[Literal["all", "observe"], takes("all or observe")] = Field(
        default="all", description="what clients may do: everything, or only watch"
    )
    token: Annotated[
        str | None,
        AfterValidator(lambda token: token if token is None else checked_token(token)),
        takes("auto, none, or 16 to 256 letters, digits, '.', '_', '~' or '-'"),
    ] = Field(
        default=None,
        description="what clients must show; auto makes a new one. Left out: auto on a JupyterHub, else none",
    )
    allowed_origins: list[Origin] = Field(
        default_factory=list, description="web origins that may connect, besides the server's own"
    )
    allowed_hosts: list[HostName] = Field(
        default_factory=list, description="names besides loopback's under which it may be reached"
    )


class HermesConfig(_Strict):
    """A whole configuration, valid in itself; whether its wires fit the modules' signals shows at start."""

    name: ModuleName = Field(
        default="session", description="the session's name; the file's name without its suffix if left out"
    )
    modules: Annotated[dict[ModuleName, ModuleConfig], Field(min_length=1)] = Field(
        description="the modules by name, at least one"
    )
    wiring: list[WireConfig] = Field(
        default_factory=list, description="the wires, in the order in which they are routed"
    )
    execution: ExecutionConfig = Field(default=ExecutionConfig(), description="how frames are paced and when they end")
    commands: list[TimedCommand] = Field(
        default_factory=list, description="what to set, or to pause, at which frame; anew after each reset"
    )
    backplane: BackplaneConfig = Field(default=BackplaneConfig(), description="the shared memory that holds the frames")
    server: ServerConfig = Field(default=ServerConfig(), description="the WebSocket server")

    _document: Document | None = PrivateAttr(None)
    _source: Path | None = PrivateAttr(None)
    _base: Path = PrivateAttr(default_factory=Path.cwd)
    _classes: dict[str, ModuleClass] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _check_together(cls, value: Any, handler: ModelWrapValidatorHandler[HermesConfig]) -> HermesConfig:
        together = (combined_findings(value), schedule_findings(value), command_findings(value, ExecutionConfig))
        found = [finding for findings in together for finding in findings]
        try:
            config = handler(value)
        except ValidationError as error:
            raise (as_validation_error(cls, found, error) if found else error) from None
        if found:
            raise as_validation_error(cls, found)
        return config

    @classmethod
    def from_yaml(cls, path: str | Path, modules: Mapping[str, object] | None = None) -> HermesConfig:
        """Read the file at `path`; raise `ConfigurationError` with every problem, in file order.

        `modules` take the place of the file's of the same name, see `with_modules`.
        """
        source = Path(path)
        config = cls._from_document(read_yaml(source), source.absolute().parent, modules)
        config._source = source.absolute()
        return config

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> HermesConfig:
        """Return the configuration of values as YAML has them, whose modules may be classes, see `with_modules`.

        Relative paths start here. Raises `ConfigurationError` with every problem.
        """
        given = values.get("modules")
        known = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
        if not isinstance(given, Mapping):
            return cls._checked(known, None, Path.cwd(), Given({}, {}, []), ())
        return cls._checked(known, None, Path.cwd(), placed({}, given, into=False), given)

    def with_modules(self, modules: Mapping[str, object]) -> HermesConfig:
        """Return this configuration with other modules in the places of those of the same names.

        A module is a subclass of `hermes.Module`, text as `script` takes it, or a mapping with ``module: Class`` and
        params, env, signals, worker, every; the keys that it has take the place of those here. Raises
        `ConfigurationError` with every problem.
        """
        given = placed(self.modules, modules, into=True)
        kept = {name: one for name, one in self._classes.items() if not _names_code(modules.get(name))}
        given = given._replace(classes={**kept, **given.classes})
        values = {name: getattr(self, name) for name in type(self).model_fields}
        config = self._checked(values, self._document, self._base, given, modules)
        config._source = self._source
        return config

    @classmethod
    def from_yaml_text(
        cls, text: str, name: str = "<text>", base: Path | None = None, classes: Mapping[str, ModuleClass] | None = None
    ) -> HermesConfig:
        """Read YAML text; `name` stands for the file in positions, relative paths start at `base` (default: here).

        Modules that `classes` names run those, whatever their `script` says.
        """
        return cls._from_document(parse_yaml(text, name), (base or Path()).absolute(), classes=classes)

    @classmethod
    def _from_document(
        cls,
        document: Document,
        base: Path,
        modules: Mapping[str, object] | None = None,
        classes: Mapping[str, ModuleClass] | None = None,
    ) -> HermesConfig:
        values = {} if document.value is None else document.value
        if not isinstance(values, dict):
            return cls._checked(values, document, base, Given({}, {}, []), ())
        own = values.get("modules")
        given = placed(own if isinstance(own, dict) else {}, modules or {}, into=True)
        given.classes.update(classes or {})
        return cls._checked({"name": _name_from(document.name), **values}, document, base, given, modules or ())

    @classmethod
    def _checked(
        cls, values: Any, document: Document | None, base: Path, given: Given, names: Collection[str]
    ) -> HermesConfig:
        """Return what `values` say with the modules given in Python, whose `names` no file says."""
        found = list(given.findings)
        if given.modules:
            values = {**values, "modules": given.modules}
            found += missing_scripts({k: v for k, v in given.modules.items() if k not in given.classes}, base)
        try:
            config = cls.model_validate(values)
        except ValidationError as error:
            found += findings_in(error, cls, document)
        if found:
            raise configuration_error(found, document, names)
        config._document, config._base, config._classes = document, base, given.classes
        return config

    @property
    def source(self) -> Path | None:
        """The file this was read from, absolute; None for text and for a configuration made in Python."""
        return self._source

    @property
    def base(self) -> Path:
        """The absolute directory that relative paths start from: the file's."""
        return self._base

    @property
    def classes(self) -> Mapping[str, ModuleClass]:
        """The modules that run a class given in Python; their `script` says where an export puts it."""
        return self._classes

    def where(self, path: KeyPath) -> str:
        """Return where the value at `path` stands: ``file:line:column``, or its key path if no file says it."""
        return self._document.where(path) if self._document else key_path(path)


def _names_code(given: object) -> bool:
    """Return whether a given module says what code it runs, and not only how."""
    return given is not None and (not isinstance(given, Mapping) or "module" in given or "script" in given)


def _name_from(place: str) -> str:
    name = re.sub("[^A-Za-z0-9_-]+", "_", Path(place).stem).strip("_-")[:63]
    return name if re.fullmatch(NAME, name) else f"_{name}" if name else "session"
