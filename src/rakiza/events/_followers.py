"""All followers of a log in one process: registered, woken when the log grows, shown, rebuilt, retried."""

from collections.abc import Sequence
from typing import cast

from rakiza._kernel import LoopThread, Supervisor
from rakiza.bus import Bus, Listener
from rakiza.errors import NotFoundError
from rakiza.store import as_utc, utc_text

from ._checkpoints import BEATS, LIVE, REBUILDING, RETIRED, Checkpoint, Follower, Ledger, told
from ._consumers import Around, Consumer, ConsumerFollower
from ._core import TOPIC
from ._projections import Projection, ProjectionFollower
from .errors import EventError


class Followers:
    """Run the projections and consumers of this process and tell about those of all."""

    def __init__(self, ledger: Ledger, bus: Bus, supervisor: Supervisor, around: Around) -> None:
        self.ledger, self._bus, self._supervisor, self._around = ledger, bus, supervisor, around
        self._loop = LoopThread()
        self._followers: dict[str, Follower] = {}
        self._listeners: list[Listener] = []

    def forget(self) -> None:
        """Begin anew in a forked child."""
        self.ledger.forget()
        for follower in self._followers.values():
            follower.forget()

    def open(self) -> None:
        """Take turns again after a close: a platform may be started anew."""
        self.ledger.closing = False

    def close(self) -> None:
        """Begin no further turn and give every claim back."""
        self.ledger.close()
        self._loop.close()

    def add(self, followed: Projection | Consumer) -> None:
        """Take a projection or a consumer in."""
        if isinstance(followed, Consumer):
            self._add(ConsumerFollower(self.ledger, followed, self._around, self._loop))
        else:
            self._add(ProjectionFollower(self.ledger, followed))

    def _add(self, follower: Follower) -> None:
        settings = self.ledger.settings
        if follower.name in self._followers:
            raise EventError(f"a projection or consumer named {follower.name!r} is registered already")
        if not self._followers:
            self._supervisor.every("events-followers", settings.takeover_seconds * BEATS, self.ledger.beat)
        self._followers[follower.name] = follower
        follower.task = self._supervisor.every(f"events-{follower.name}", settings.poll_seconds, follower.run, writes=True)
        self._listeners.append(self._bus.on(TOPIC, follower.task.wake))
        follower.task.wake()

    def _of(self, name: str) -> Follower:
        found = self._followers.get(name)
        if found is None:
            hint = f"where the application runs: the console's page Projections, or events.rebuild_projection({name!r})"
            raise NotFoundError(f"no projection or consumer named {name!r} is registered in this process", hint=hint)
        return found

    def catch_up(self, name: str | None) -> int:
        """Follow the log to its end in this thread; return how many events are left, which are some when something is in the way."""
        chosen = list(self._followers.values()) if name is None else [self._of(name)]
        for follower in chosen:
            follower.catch_up()
        names = {follower.name for follower in chosen}
        return max((cast("int", state["lag"]) for state in self.states() if state["name"] in names), default=0)

    def rebuild(self, name: str, *, wait: bool) -> int:
        """Build the next generation of a projection and return its number."""
        follower = self._of(name)
        if not isinstance(follower, ProjectionFollower):
            raise EventError(f"{name!r} is a consumer, and a rebuild fires nothing again")
        number = follower.rebuild()
        if wait:
            follower.finish(number)
        elif follower.task is not None:
            follower.task.wake()
        return number

    def states(self) -> list[dict[str, object]]:
        """Tell of every projection and consumer where it stands against the head of the log."""
        with self.ledger.store.read() as tx:
            head, letters = self.ledger.reader.head(tx), self.ledger.count_letters(tx)
            by_name: dict[str, list[Checkpoint]] = {name: [] for name in self._followers}
            for row in self.ledger.all_rows(tx):
                by_name.setdefault(row.name, []).append(row)
            alive = {row.owner for rows in by_name.values() for row in rows if self.ledger.alive(tx, row)}
        return [self._state(name, rows, head, letters.get(name, 0), alive) for name, rows in sorted(by_name.items())]

    def _state(self, name: str, rows: Sequence[Checkpoint], head: int, letters: int, alive: set[str | None]) -> dict[str, object]:
        shown = max((row for row in rows if row.status != RETIRED), key=lambda row: row.status == LIVE, default=None)
        built = next((row for row in rows if row.status == REBUILDING), None)
        follower = self._followers.get(name)
        held = [told(held.error) for held in list(follower.held.values()) if held.error] if follower else []
        error = next((row.error for row in (shown, built) if row and row.error), held[0] if held else None)
        status = "failing" if error else "stopped" if shown is None or shown.owner not in alive else REBUILDING if built else LIVE
        kind = follower.kind if follower else "consumer" if shown and shown.generation == 0 else "projection"
        return {
            "name": name,
            "kind": kind,
            "generation": shown.generation if shown else 0,
            "position": shown.position if shown else 0,
            "lag": head - (shown.position if shown else 0),
            "status": status,
            "owner": shown.owner if shown else None,
            "seen_at": utc_text(as_utc(shown.seen_at)) if shown else None,
            "error": error,
            "dead_letters": letters,
            "rebuild": {"generation": built.generation, "position": built.position} if built else None,
        }

    def retry(self, name: str, positions: Sequence[int] | None) -> dict[str, int]:
        """Apply events that were set aside again; those that fail stay, with one more attempt."""
        follower, resolved = self._of(name), 0
        chosen = [letter["position"] for letter in self.ledger.letters(name) if positions is None or letter["position"] in positions]
        for position in chosen:
            try:
                follower.retry(position)
                resolved += 1
            except Exception as error:
                if self.ledger.is_trouble(error):
                    raise
                self.ledger.blame(name, position, error)
        return {"retried": len(chosen), "resolved": resolved}
