"""What is known of each kind of job: its handler, the types of its arguments, how it is tried again."""

import hashlib
import inspect
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar, cast, get_type_hints

import msgspec

from ._core import Backoff, check_priority
from ._running import RunningJob
from .errors import JobArgumentsError, JobError

DEFAULT_QUEUE = "default"
MAX_NAME = 200
_NAMED = re.compile(r"field `(.+)`$")  # of a field that is missing or unknown msgspec's path names only the object it belongs to
Handler = Callable[..., Any]
F = TypeVar("F", bound=Callable[..., object])


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Say how the jobs of one kind are worked on, where the job itself does not."""

    queue: str | None = None
    max_attempts: int | None = None
    timeout_seconds: float | None = None
    priority: int = 0
    backoff: Backoff | None = None
    unique: bool | str | None = None
    unique_for: float | None = None
    concurrency_key: str | None = None
    key_limit: int | None = None
    tags: tuple[str, ...] = ()
    run_in: str = "auto"

    def __post_init__(self) -> None:
        """Raise JobError for what cannot work."""
        check_priority(self.priority)
        if self.queue is not None:
            check_queue(self.queue)
        if self.run_in not in {"auto", "process"}:
            raise JobError(f"run_in {self.run_in!r} is not known", hint="use 'auto' (async functions on the loop, others in threads) or 'process'")
        for name in ("max_attempts", "timeout_seconds", "unique_for", "key_limit"):
            if (value := getattr(self, name)) is not None and value <= 0:
                raise JobError(f"{name} must be above 0, got {value}")


def check_queue(name: str) -> str:
    """Return the name of a queue; raise JobError for one that cannot stand in the addresses by which it is paused and limited."""
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable() or "/" in name or name in {".", ".."}:
        raise JobError(f"a queue cannot be named {str(name)[:MAX_NAME]!r}", hint=f"use at most {MAX_NAME} visible signs and no '/', as in 'emails'")
    return name


class Arguments:
    """Read the arguments of a handler from a payload by its signature."""

    def __init__(self, name: str, function: Handler) -> None:
        hints = get_type_hints(inspect.unwrap(function), include_extras=True) if callable(function) else {}
        parameters = list(inspect.signature(function).parameters.values())
        self._job = next((one.name for one in parameters if hints.get(one.name) is RunningJob), None)
        if self._job is None and any(one.name == "job" and one.name not in hints for one in parameters):
            self._job = "job"
        taken = [one for one in parameters if one.name != self._job]
        if strange := [one.name for one in taken if one.kind in {one.POSITIONAL_ONLY, one.VAR_POSITIONAL}]:
            raise JobError(f"the handler of {name!r} takes {strange[0]!r} by position; arguments of jobs have names")
        self._extra = any(one.kind is one.VAR_KEYWORD for one in taken)
        named = [one for one in taken if one.kind is not one.VAR_KEYWORD]
        whole = len(named) == 1 and _is_record(hints.get(named[0].name))
        self._whole = named[0].name if whole else None
        self._fields = tuple(one.name for one in named)
        self._kind = hints[named[0].name] if whole else _struct(name, named, hints, self._extra or (not taken and self._job is not None))
        self._decoder = msgspec.json.Decoder(self._kind)

    def check(self, text: bytes) -> None:
        """Raise JobArgumentsError, with the field named, for a payload that does not fit."""
        try:
            self._decoder.decode(text)
        except msgspec.ValidationError as error:
            reason, _, path = str(error).partition(" - at `")
            named = _NAMED.search(reason)
            field = ".".join(part for part in (path.rstrip("`").removeprefix("$").removeprefix("."), named[1] if named else "") if part)
            raise JobArgumentsError(f"{field}: {reason}" if field else reason, field=field or "payload") from None

    def with_defaults(self, payload: str) -> dict[str, Any]:
        """Return the arguments with those the handler would add."""
        found = msgspec.to_builtins(self._decoder.decode(payload))
        return found if isinstance(found, dict) else {}

    def read(self, payload: str, job: RunningJob) -> dict[str, Any]:
        """Return what the handler is called with; raise msgspec.ValidationError for a payload that fits no more."""
        found = self._decoder.decode(payload)
        if self._whole is not None:
            given: dict[str, Any] = {self._whole: found}
        else:
            given = {**(job.payload if self._extra else {}), **{name: getattr(found, name) for name in self._fields}}
        if self._job is not None:
            given[self._job] = job
        return given


def _is_record(kind: object) -> bool:
    return isinstance(kind, type) and (issubclass(kind, msgspec.Struct | dict) or hasattr(kind, "__dataclass_fields__") or hasattr(kind, "__total__"))


def _struct(name: str, parameters: list[inspect.Parameter], hints: Mapping[str, Any], free: bool) -> type[msgspec.Struct]:
    fields: list[Any] = []
    for one in parameters:
        kind = hints.get(one.name, Any)
        fields.append((one.name, kind) if one.default is one.empty else (one.name, kind, one.default))
    return msgspec.defstruct(f"arguments of {name}", fields, kw_only=True, forbid_unknown_fields=not free)


class Definition:
    """Hold one kind of job."""

    def __init__(self, name: str, function: Handler, options: Options) -> None:
        if not name or len(name) > MAX_NAME or not name.isprintable():
            raise JobError(f"a job cannot be named {name!r}", hint="use a short name such as 'email:send'")
        self.name, self.function, self.options = name, function, options
        self.arguments = Arguments(name, function)
        self.is_async = inspect.iscoroutinefunction(inspect.unwrap(function))
        if options.run_in == "process":
            _check_importable(name, function, self.is_async)

    @property
    def in_process(self) -> bool:
        """Tell whether it runs in a process of its own."""
        return self.options.run_in == "process"


def _check_importable(name: str, function: Handler, is_async: bool) -> None:
    module = getattr(function, "__module__", "__main__")
    if module == "__main__" or "<locals>" in getattr(function, "__qualname__", "<locals>"):
        raise JobError(f"{name!r} is to run in a process of its own, which must import its handler", hint="define it at the top level of a module")
    if is_async:
        raise JobError(f"{name!r} is to run in a process of its own and must be a plain function")


class Registry:
    """Keep the kinds of jobs by name, and the handlers that take every job of a queue."""

    def __init__(self, parent: "Registry | None" = None) -> None:
        self._parent = parent
        self._by_name: dict[str, Definition] = {}
        self._by_queue: dict[str, Definition] = {}
        self.changes = 0

    def add(self, definition: Definition) -> None:
        """Take a kind of job in; raise JobError when another function has its name."""
        known = self._by_name.get(definition.name)
        if known is not None and _place(known.function) != _place(definition.function):
            raise JobError(f"there is a job named {definition.name!r} already, handled by {'.'.join(_place(known.function))}")
        self._by_name[definition.name] = definition
        self.changes += 1

    def add_processor(self, queue: str, definition: Definition) -> None:
        """Let a handler take every job of a queue that has no handler of its own."""
        known = self._by_queue.get(queue)
        if known is not None and _place(known.function) != _place(definition.function):
            raise JobError(f"the queue {queue!r} has a processor already: {'.'.join(_place(known.function))}")
        self._by_queue[queue] = definition
        self.changes += 1

    def find(self, task: str, queue: str | None = None) -> Definition | None:
        """Return what handles a job, by its name, else by its queue."""
        found = self._by_name.get(task) or (self._by_queue.get(queue) if queue is not None else None)
        return found or (self._parent.find(task, queue) if self._parent else None)

    def names(self) -> set[str]:
        """Return the names of the kinds of jobs that are known."""
        return set(self._by_name) | (self._parent.names() if self._parent else set())

    def processed(self) -> set[str]:
        """Return the queues that have a processor."""
        return set(self._by_queue) | (self._parent.processed() if self._parent else set())

    def queues(self) -> set[str]:
        """Return the queues that are named by a kind of job or have a processor."""
        named = {one.options.queue or DEFAULT_QUEUE for one in self._by_name.values()}
        return named | set(self._by_queue) | (self._parent.queues() if self._parent else set())

    @property
    def version(self) -> int:
        """Return a number that grows with every kind of job taken in."""
        return self.changes + (self._parent.version if self._parent else 0)


def _place(function: Handler) -> tuple[str, str]:
    return getattr(function, "__module__", ""), getattr(function, "__qualname__", repr(function))


REGISTRY = Registry()
"""The kinds of jobs every platform of this process knows."""


def key_of(template: str, payload: Mapping[str, object]) -> str:
    """Fill a template such as `project:{project}` from a payload; raise JobArgumentsError for a name it does not have."""
    try:
        return template.format_map({name: value for name, value in payload.items() if isinstance(value, str | int)})
    except (KeyError, ValueError, AttributeError, IndexError) as error:
        raise JobArgumentsError(f"the key {template!r} cannot be filled from the arguments: {error}", field=str(error).strip("'")) from None


def digest(task: str, payload: str, definition: "Definition | None") -> str:
    """Return the key of `unique=True`: the task and a hash of its arguments, in whatever order and with those left to the handler's defaults."""
    plain = msgspec.json.decode(payload)
    if definition is not None:
        plain = definition.arguments.with_defaults(payload) | plain
    return f"{task}#{hashlib.sha256(msgspec.json.encode(plain, order='sorted')).hexdigest()[:32]}"


def registering(registry: Registry, name: str, given: Mapping[str, object]) -> Callable[[F], F]:
    """Return the decorator that takes a handler into a registry; raise JobError for options that do not fit."""
    try:
        options = msgspec.convert({key: value.total_seconds() if isinstance(value, timedelta) else value for key, value in given.items()}, Options)
    except msgspec.ValidationError as error:
        raise JobError(f"the options of {name!r} do not fit: {error}", hint=f"options are {', '.join(Options.__struct_fields__)}") from None

    def register(function: F) -> F:
        registry.add(Definition(name, cast("Handler", function), options))
        return function

    return register
