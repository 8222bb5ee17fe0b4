"""What a process has of one kind, by name, for those who look; who uses a thing holds it, the shelf does not."""

import threading
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakValueDictionary

from rakiza._kernel.tasks import after_fork

MAX_SHOWN = 2_000


class Named(Protocol):
    """Have a name, and locks of one's own that a forked child must not inherit."""

    name: str

    def forget(self) -> None:
        """Take new locks in a forked child."""
        ...


T = TypeVar("T", bound=Named)


class Shelf(Generic[T]):
    """Show at most 2,000 things, the latest one of a name; further ones work and are not shown."""

    def __init__(self) -> None:
        self._things: WeakValueDictionary[str, T] = WeakValueDictionary()
        self._living: WeakValueDictionary[int, T] = WeakValueDictionary()
        self.making = threading.Lock()
        """Held by whoever makes what is not there yet."""
        after_fork(self._forget)

    def add(self, thing: T) -> None:
        """Show a thing as long as somebody holds it."""
        self._living[id(thing)] = thing
        if len(self._things) < MAX_SHOWN or thing.name in self._things:
            self._things[thing.name] = thing

    def get(self, name: str) -> T | None:
        """Return the thing of that name, or none."""
        return self._things.get(name)

    def all(self) -> list[T]:
        """Return what is shown, by name."""
        return sorted(_held(self._things), key=lambda thing: thing.name)

    def every(self) -> list[T]:
        """Return all there are, also those that a later one of their name or the limit hides."""
        return _held(self._living)

    def _forget(self) -> None:
        self.making = threading.Lock()
        for thing in self.every():
            thing.forget()


def _held(things: WeakValueDictionary[Any, T]) -> list[T]:
    held = (ref() for ref in things.valuerefs())  # a list made in one step: other threads may add things meanwhile
    return [thing for thing in held if thing is not None]
