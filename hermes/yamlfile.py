"""Read one YAML document strictly, and remember where everything in it stands.

The parser's event stream is folded with an explicit stack: nothing recurses, no tag constructs anything, and a limit
refuses the input before it costs time. `hermes.yamlscalars` reads the scalars. Everything wrong is collected and
raised as one `ConfigurationError`; a syntax error stands alone, because nothing after it can be trusted. This file
knows nothing about what a configuration means.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml

from hermes.errors import ConfigurationError, Problem
from hermes.wording import shown
from hermes.yamlscalars import CORE, bad_tag, read_scalar

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_VALUES = 100_000
MAX_PROBLEMS = 100
_MAX_TAG_DIRECTIVES = 64  # the parser compares each with all before it

# The C parser is forty times faster and gives the same marks; some platforms' wheels come without it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LINE_BREAK = re.compile("\r\n|[\r\n]")
_TAG_DIRECTIVE = re.compile("(?:^|[\r\n\x85\u2028\u2029])%TAG")

Mark = tuple[int, int]
KeyPath = tuple[str | int, ...]
_NOTHING: dict[Any, Any] = {}  # what every scalar has below it; shared, because there may be 100,000 of them


@dataclass(slots=True)
class _Node:
    """A value and where it stands; `size` counts it with all below it, `height` the collections on its way down."""

    value: Any
    mark: Mark
    children: dict[str | int, _Node] = field(default_factory=lambda: _NOTHING)
    keys: dict[str, Mark] = field(default_factory=lambda: _NOTHING)
    size: int = 1
    height: int = 0


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet; `key` is the key that waits for its value."""

    node: _Node
    anchor: str | None
    key: _Node | None = None


class Document:
    """What a YAML file says (`value`: plain dicts, lists and scalars) and where it says so (`where`)."""

    def __init__(self, name: str, root: _Node) -> None:
        self.name = name
        self.value: Any = root.value
        self._root = root

    def mark(self, path: KeyPath, *, key: bool = False) -> Mark:
        """Return line and column, both from 1, as `where` does; marks sort in file order."""
        node, mark = self._root, self._root.mark
        for part in path:
            child = node.children.get(part)
            if child is None:
                break
            mark = node.keys.get(part, child.mark) if key and isinstance(part, str) else child.mark
            node = child
        return mark

    def where(self, path: KeyPath, key: bool = False) -> str:
        """Return ``file:line:column`` of the value at `path`, or of its key.

        Where nothing stands at `path`, the answer is that of its nearest ancestor that exists.
        """
        line, column = self.mark(path, key=key)
        return f"{self.name}:{line}:{column}"


def read_yaml(path: Path) -> Document:
    """Read the file at `path`; raise `ConfigurationError` if it cannot be read or is not strict YAML."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        message = f"the configuration file cannot be read: {reason}"
        raise ConfigurationError([Problem(str(path), message)]) from None
    return parse_yaml(content, str(path))


def parse_yaml(text_or_bytes: str | bytes, name: str) -> Document:
    """Parse one document of at most 1 MiB; `name` stands for the file in positions.

    Raise `ConfigurationError` with everything wrong in file order, at most 100 problems.
    """
    text = _decoded(text_or_bytes, name)
    return Document(name, _Reader(name).read(text))


def _decoded(source: str | bytes, name: str) -> str:
    raw = source.encode("utf-8", "surrogatepass") if isinstance(source, str) else source
    if len(raw) > MAX_BYTES:
        raise ConfigurationError([Problem(name, "the file is larger than 1 MiB, the most that is read")])
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise _refusal(name, "", "the file is UTF-16 or UTF-32; save it as UTF-8")
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8")
        raise _refusal(name, before, f"byte 0x{raw[error.start]:02x} is not UTF-8; save the file as UTF-8") from None
    if bad := _FORBIDDEN.search(text):
        hint = "" if bad.group() != "\0" else " (NUL: not text, or not UTF-8)"
        message = f"the control character U+{ord(bad.group()):04X}{hint} is not allowed"
        raise _refusal(name, text[: bad.start()], message)
    if len(_TAG_DIRECTIVE.findall(text)) > _MAX_TAG_DIRECTIVES:
        raise _refusal(name, "", f"more than {_MAX_TAG_DIRECTIVES} %TAG directives; none is needed")
    return text


def _refusal(name: str, before: str, message: str) -> ConfigurationError:
    lines = _LINE_BREAK.split(before)
    return ConfigurationError([Problem(f"{name}:{len(lines)}:{len(lines[-1]) + 1}", message)])


class _Reader:
    """Folds the parser's events into nodes, collecting problems on the way."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[tuple[Mark, str]] = []
        self.stack: list[_Open] = []
        self.anchors: dict[str, _Node | None] = {}  # None while the anchored collection is still open
        self.root: _Node | None = None
        self.total = 0

    def read(self, text: str) -> _Node:
        try:
            for event in yaml.parse(text, Loader=_LOADER):
                self._take(event)
        except yaml.YAMLError as error:
            raise ConfigurationError([self._syntax(error)]) from None
        if self.problems:
            raise self._error()
        return self.root or _Node(None, (1, 1))

    def _syntax(self, error: yaml.YAMLError) -> Problem:
        mark = getattr(error, "problem_mark", None)
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        words = [getattr(error, part, None) for part in ("context", "problem")]
        text = ", ".join(word for word in words if word) or "the parser gives up here"
        start = getattr(error, "context_mark", None)
        since = f" (it starts in line {start.line + 1})" if start and start.line + 1 != line else ""
        return Problem(f"{self.name}:{line}:{column}", f"not valid YAML: {text[:200]}{since}")

    def _take(self, event: yaml.Event) -> None:
        start = cast(yaml.Mark, event.start_mark)
        mark = (start.line + 1, start.column + 1)
        if isinstance(event, yaml.ScalarEvent):
            self._count(1, 0, mark)
            self._add(_Node(self._scalar(event, mark), mark), event.anchor)
        elif isinstance(event, yaml.AliasEvent):
            self._add(self._alias(str(event.anchor), mark))
        elif isinstance(event, yaml.CollectionStartEvent):
            self._start(event, mark)
        elif isinstance(event, yaml.CollectionEndEvent):
            done = self.stack.pop()
            self._add(done.node, done.anchor)
        elif isinstance(event, yaml.DocumentStartEvent) and self.root:
            self._stop(mark, "a second document starts here; a configuration is one document")

    def _start(self, event: yaml.CollectionStartEvent, mark: Mark) -> None:
        self._count(1, 1, mark)
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        if event.tag not in (None, CORE + ("map" if is_mapping else "seq")):
            self._report(mark, bad_tag(event.tag, "a mapping" if is_mapping else "a list"))
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        self.stack.append(_Open(_Node({} if is_mapping else [], mark, {}, {}, height=1), event.anchor))

    def _alias(self, anchor: str, mark: Mark) -> _Node:
        found = self.anchors.get(anchor)
        if found is None:
            why = "stands inside the value it repeats" if anchor in self.anchors else "has no anchor before it"
            self._report(mark, f"the alias {shown('*' + anchor)} {why}")
            return _Node("", mark)
        self._count(found.size, found.height, mark)
        value = copy.deepcopy(found.value)
        return _Node(value, mark, found.children, found.keys, found.size, found.height)

    def _add(self, node: _Node, anchor: str | None = None) -> None:
        if anchor is not None:
            self.anchors[anchor] = node
        if not self.stack:
            self.root = node
            return
        parent = self.stack[-1]
        parent.node.size += node.size
        parent.node.height = max(parent.node.height, node.height + 1)
        if isinstance(parent.node.value, list):
            parent.node.children[len(parent.node.value)] = node
            parent.node.value.append(node.value)
        elif parent.key is None:
            parent.key = node
            self._check_key(parent.node, node)
        else:
            self._put(parent.node, parent.key, node)
            parent.key = None

    def _check_key(self, mapping: _Node, key: _Node) -> None:
        if not isinstance(key.value, str):
            self._report(key.mark, "a key that is not text; put it in quotes")
        elif key.value == "<<":
            self._report(key.mark, "the merge key '<<' is not supported; write the keys out")
        elif key.value in mapping.keys:
            line, column = mapping.keys[key.value]
            first = f"{self.name}:{line}:{column}"
            self._report(key.mark, f"the key {shown(key.value)} stands here a second time; the first is at {first}")

    @staticmethod
    def _put(mapping: _Node, key: _Node, node: _Node) -> None:
        if isinstance(key.value, str) and key.value not in mapping.keys:
            mapping.keys[key.value] = key.mark
            mapping.children[key.value] = node
            mapping.value[key.value] = node.value

    def _scalar(self, event: yaml.ScalarEvent, mark: Mark) -> Any:
        value, complaint = read_scalar(event.value, event.tag, is_plain=event.implicit[0])
        if complaint:
            self._report(mark, complaint)
        return value

    def _count(self, more: int, height: int, mark: Mark) -> None:
        self.total += more
        if self.total > MAX_VALUES:
            self._stop(mark, f"more than {MAX_VALUES:,} values, counting what aliases repeat")
        if len(self.stack) + height > MAX_DEPTH:
            self._stop(mark, f"nested more than {MAX_DEPTH} deep")

    def _report(self, mark: Mark, message: str) -> None:
        self.problems.append((mark, message))
        if len(self.problems) == MAX_PROBLEMS:
            raise self._error()

    def _stop(self, mark: Mark, message: str) -> None:
        self.problems.append((mark, message))
        raise self._error()

    def _error(self) -> ConfigurationError:
        found = sorted(self.problems, key=lambda problem: problem[0])
        return ConfigurationError(Problem(f"{self.name}:{line}:{column}", message) for (line, column), message in found)
