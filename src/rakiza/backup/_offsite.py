"""All other places of backups: taken there by jobs or at once, remembered, let go by the same policy, brought back."""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import msgspec

from rakiza._kernel import Clock
from rakiza.errors import AppError, ValidationError
from rakiza.jobs import Jobs
from rakiza.store import StorageError
from rakiza.store.objects import shown_address

from ._core import BackupInfo, Copy, Manifest, RetentionPolicy, info_of, lacking, surplus, with_copy
from ._folder import Folder
from ._place import OffsiteStore
from ._streams import Pace
from .errors import BackupDamagedError, BackupError, BackupNotFoundError, BackupRefusedError

COPY_TASK = "backup:copy"
NEWEST = "newest"
"""Said in place of a name where the newest backup of a place is meant."""
log = logging.getLogger("rakiza.backup")
Paced = Callable[[], Pace]


class Standing(msgspec.Struct, frozen=True):
    """Tell how a place stands, from what the manifests here remember."""

    url: str
    backups: int
    newest: datetime | None
    waiting: int
    failed: int
    error: str


class Offsite:
    """Take the backups of a folder to their places, as jobs where there is a queue, and remember in the manifests how it went."""

    def __init__(
        self, folder: Folder, policy: RetentionPolicy, urls: Sequence[str], clock: Clock, paced: Paced, *, delete: bool, timeout_seconds: float
    ) -> None:
        self._folder, self._policy, self._clock, self._paced = folder, policy, clock, paced
        self._delete, self._timeout = delete, timeout_seconds
        self._addresses = urls
        self._known: dict[str, OffsiteStore] | None = None
        self._refused: set[str] = set()

    @property
    def places(self) -> dict[str, OffsiteStore]:
        """Return the places by their shown address; raise StorageError for one that cannot be or is named twice, MissingExtraError."""
        if self._known is None:
            known = {store.url: store for store in (OffsiteStore(url, self._timeout) for url in self._addresses)}
            if len(known) != len(self._addresses):
                raise StorageError("two addresses in RAKIZA_BACKUP_OFFSITE name one place", hint="give each a bucket or a prefix of its own")
            self._known = known
        return self._known

    def place(self, url: str, *, any_place: bool = False) -> OffsiteStore:
        """Return the place of an address, with its query or without; raise ValidationError for one that no setting names, StorageError."""
        found = self.places.get(shown_address(url))
        if found is not None and "?" not in url:
            return found
        if any_place:
            return OffsiteStore(url, self._timeout)
        raise ValidationError("no such place is named in RAKIZA_BACKUP_OFFSITE", message_ar="هذا المكان غير مذكور في RAKIZA_BACKUP_OFFSITE")

    def waiting(self) -> tuple[Copy, ...]:
        """Return what the manifest of a new backup says: it is still to be taken everywhere."""
        return tuple(Copy(url, "waiting", self._clock.now()) for url in self.places)

    def spread(self, jobs: Jobs | None) -> None:
        """Have every backup taken where it is not yet: as jobs, or at once without a queue; what fails is remembered and logged, never raised."""
        down: set[str] = set()
        for manifest in self._folder.manifests() if self._addresses else ():
            for url in lacking(manifest, self.places):
                if jobs is not None:
                    _ask(jobs, manifest.file, url)
                elif url not in down:
                    with contextlib.suppress(AppError):
                        down.add(url)
                        self.copy(manifest.file, url)
                        down.discard(url)

    def copy(self, filename: str, url: str, *, last: bool = True) -> Copy:
        """Take one backup to one place and let those go there that the policy does not keep.

        What is raised is remembered first, as failed when this try is the `last`. Raises ValueError for what is no name, BackupNotFoundError,
        BackupError, BackupRefusedError, StorageError.
        """
        store, manifest = self.place(url), self._folder.manifest(filename)
        try:
            store.keep(self._folder.path, manifest, self._paced())
        except (AppError, OSError) as error:
            told = error if isinstance(error, AppError) else BackupError(f"{filename} cannot be read: {error.strerror or error}")
            log.warning("%s was not taken to %s: %s", filename, store.url, told.detail)
            state = "failed" if last or isinstance(error, BackupRefusedError) else "waiting"
            self._remember(filename, Copy(store.url, state, self._clock.now(), told.detail))
            if told is error:
                raise
            raise told from error
        done = self._remember(filename, Copy(store.url, "ok", self._clock.now()))
        if self._delete:
            self._rotate(store, manifest)
        return done

    def _remember(self, filename: str, copy: Copy) -> Copy:
        with contextlib.suppress(BackupNotFoundError, OSError):  # let go in the meantime, or nowhere to write it
            self._folder.change(filename, lambda manifest: msgspec.structs.replace(manifest, copies=with_copy(manifest.copies, copy)))
        return copy

    def _rotate(self, store: OffsiteStore, mine: Manifest) -> None:
        """Let go of what the policy does not keep; what the place refuses to delete stays, and is said once."""
        try:
            pinned = {one.file for one in self._folder.manifests() if one.pinned}
            for name in surplus([one for one in _of(store, mine) if one.filename not in pinned], self._policy, self._clock.now()):
                store.delete(name)
        except AppError as error:
            if store.url not in self._refused:
                self._refused.add(store.url)
                log.info("%s keeps backups that the policy would let go: %s", store.url, error.detail)

    def fetch(self, filename: str, store: OffsiteStore) -> Manifest:
        """Bring a backup from a place into the folder, which the caller works in; raises as `OffsiteStore.fetch` does."""
        if filename == NEWEST:
            filename = store.newest()
        return store.fetch(self._folder, filename, self._paced(), self._clock.now())

    def standing(self) -> list[Standing]:
        """Tell how each place stands; nothing is asked of the places."""
        manifests = self._folder.manifests()
        return [_standing(url, manifests) for url in self.places]


def _of(store: OffsiteStore, mine: Manifest) -> Iterator[BackupInfo]:
    """Yield the backups of the same application and kind of database; those of others that share the place are not ours to judge."""
    for name, _ in store.list():
        with contextlib.suppress(BackupDamagedError, BackupNotFoundError):
            found = store.manifest(name)
            if (found.app, found.engine) == (mine.app, mine.engine):
                yield info_of(found)


def _standing(url: str, manifests: Sequence[Manifest]) -> Standing:
    copies = [(one, copy) for one in manifests for copy in one.copies if copy.url == url]
    there = [one.created_at for one, copy in copies if copy.state == "ok"]
    states = [copy.state for _, copy in copies]
    error = next((copy.error for _, copy in copies if copy.error), "")
    return Standing(url, len(there), max(there, default=None), states.count("waiting"), states.count("failed"), error)


def _ask(jobs: Jobs, filename: str, url: str) -> None:
    try:
        jobs.enqueue(COPY_TASK, {"filename": filename, "place": url}, unique=f"{filename} {url}")
    except AppError as error:
        log.warning("no job takes %s to %s yet: %s", filename, url, error.detail)
