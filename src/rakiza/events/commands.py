"""Commands for the log and the audit trail."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from rakiza._kernel import Command
from rakiza.errors import NotFoundError, ValidationError

from ._trail import AuditTrail
from .service import EventStore

STEPS = 20


def commands(events: EventStore, trail: AuditTrail) -> tuple[Command, ...]:
    """Return the commands of the event store."""
    return (
        Command("events stats", lambda: _stats(events, trail), "Show how long the log is and how far it is sealed"),
        Command("events replay", lambda: _replay(events), "Build a projection anew, beside the one that serves"),
        Command("events verify", lambda: _verify(trail), "Verify every event, seal and anchor; the same as `audit verify`"),
        Command("audit verify", lambda: _verify(trail), "Verify every event, seal and anchor; the exit code is 1 when something was changed"),
        Command("audit export", lambda: _export(trail), "Write the sealed log and a stand-alone verifier to a folder for an auditor"),
        Command("audit erase", lambda: _erase(trail), "Make the personal fields of a subject unreadable for ever"),
    )


def _stats(events: EventStore, trail: AuditTrail) -> Callable[..., None]:
    def stats(json: bool = False) -> None:
        """Show how long the log is and how far it is sealed; --json for a script."""
        trail.seal()
        found = {"head": events.head(), "sealed": trail.sealed_position()}
        _say(msgspec.json.encode(found).decode() if json else "\n".join(f"{name:8} {value:>14,}" for name, value in found.items()))

    return stats


def _replay(events: EventStore) -> Callable[..., None]:
    def replay(name: str) -> None:
        """Build a projection anew and switch readers over at its end."""
        generation = events.rebuild_projection(name)
        _say(f"{name}: generation {generation} serves, built from {events.head():,} events")

    return replay


def _verify(trail: AuditTrail) -> Callable[..., None]:
    def verify(json: bool = False) -> None:
        """Verify every event, seal and anchor; --json for a script."""
        trail.seal()
        report = trail.verify(Progress("verified", quiet=json))
        if json:
            _say(msgspec.json.encode(report).decode())
        elif report.ok:
            _say(f"intact: {report.events:,} events under {report.seals:,} seals, root {report.root}")
        else:
            _say(f"CHANGED: {len(report.findings)} finding(s) among {report.events:,} events and {report.seals:,} seals")
            for one in report.findings:
                _say(f"  {one.message_en}\n  {one.message_ar}")
        if not report.ok:
            raise SystemExit(1)

    return verify


def _export(trail: AuditTrail) -> Callable[..., None]:
    def export(to: Path, since: str = "", until: str = "") -> None:
        """Write the sealed log and a stand-alone verifier to an empty folder; --since and --until are days or moments (UTC when they say no zone)."""
        trail.seal()
        bounds = _moment(since, "--since"), _moment(until, "--until")
        try:
            done = trail.export(to, *bounds)
        except OSError as error:
            raise ValidationError(f"{to} cannot be written: {error.strerror}", hint="name a new folder") from error
        _say(f"{done.events:,} events, {done.hashes:,} hashes of others and {done.seals:,} seals are in {to}")
        _say(f"verify them with: python {to / 'verify.py'} {to}")

    return export


def _erase(trail: AuditTrail) -> Callable[..., None]:
    def erase(subject: str, yes: bool = False) -> None:
        """Make the personal fields of a subject (`user:<id>`) unreadable for ever; seals and proofs stay valid."""
        if not yes:
            raise ValidationError(f"the personal fields of {subject} cannot be brought back", hint="repeat with --yes")
        erased = trail.erasure(subject)
        if erased is None:
            near = f"user:{subject}"
            meant = f"; did you mean {near!r}?" if trail.erasure(near) is not None else ""
            hint = f"a subject is written as the events have it, user:<id> for a user{meant}"
            raise NotFoundError(f"no event holds personal fields of {subject!r}", hint=hint)
        if not erased:
            trail.erase(subject)
        _say(f"the personal fields of {subject} {'were erased before' if erased else 'are erased'}")

    return erase


def _moment(text: str, option: str) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValidationError(f"{option} {text!r} is no day or moment", hint="write 2026-11-27 or 2026-11-27T09:00:00+03:00") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class Progress:
    """Show how far long work is: a line that moves on a terminal, a few plain lines in a pipe."""

    def __init__(self, what: str, *, quiet: bool = False) -> None:
        self._what, self._quiet, self._shown = what, quiet, -1

    def __call__(self, done: int, total: int) -> None:
        """Tell that `done` of `total` are done."""
        step = STEPS if total <= 0 else done * STEPS // total
        if self._quiet or step == self._shown:
            return
        self._shown = step
        end = "\n" if step >= STEPS or not sys.stderr.isatty() else ""
        start = "\r" if sys.stderr.isatty() else ""
        sys.stderr.write(f"{start}{self._what} {done:,} of {total:,} ({100 * step // STEPS} %){end}")
        sys.stderr.flush()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
