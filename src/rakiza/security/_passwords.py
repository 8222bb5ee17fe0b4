"""Hash and verify passwords: Argon2id, few at once, a bounded queue before them. The only place that imports pwdlib."""

import base64
import secrets
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from rakiza._kernel import WorkerPool
from rakiza.errors import ServiceUnavailableError

from ._password_rules import normal_password

if TYPE_CHECKING:
    from pwdlib import PasswordHash

    from .settings import SecuritySettings

P = ParamSpec("P")
T = TypeVar("T")
WAIT_SECONDS = 10.0


class Passwords:
    """Hash and verify passwords without letting a storm of sign-ins take memory, cores or the threads of other work."""

    def __init__(self, settings: "SecuritySettings") -> None:
        self._hash = _hasher(settings)
        self._pool = WorkerPool(settings.hashing_threads)
        self._room = settings.hashing_threads + settings.hashing_queue
        self._stand_in = _stand_in(settings)
        self.restart()

    def restart(self) -> None:
        """Have nobody inside, in a forked child."""
        self._slots = threading.BoundedSemaphore(self._pool.threads)
        self._inside, self._count_lock = 0, threading.Lock()

    def hash(self, password: str) -> str:
        """Return the hash of a password in PHC form; raise ServiceUnavailableError when too many wait."""
        return self._in_slot(self._hash.hash, normal_password(password))

    def verify(self, password: str, stored: str | None) -> tuple[bool, str | None]:
        """Tell whether the password is right, with a new hash when parameters have changed; as slow without a stored hash as with one."""
        if stored is None:
            self._in_slot(self._hash.verify, normal_password(password), self._stand_in)
            return False, None
        return self._in_slot(self._hash.verify_and_update, normal_password(password), stored)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work that hashes on the threads kept for it; raise ServiceUnavailableError at once when the queue is full."""
        with self._count_lock:
            if self._inside >= self._room:
                raise _busy()
            self._inside += 1
        try:
            return await self._pool.run(work, *args, **kwargs)
        finally:
            with self._count_lock:
                self._inside -= 1

    @property
    def waiting(self) -> int:
        """Return how many sign-ins wait for a thread."""
        return max(0, self._inside - self._pool.threads)

    def close(self) -> None:
        """End the threads."""
        self._pool.close()

    def _in_slot(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if not self._slots.acquire(timeout=WAIT_SECONDS):
            raise _busy()
        try:
            return work(*args, **kwargs)
        finally:
            self._slots.release()


def _stand_in(settings: "SecuritySettings") -> str:
    """Return what stands in for the hash of an unknown account: of no password, and as slow to verify as one of today's (PHC string format)."""
    salt, tag = (base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (16, 32))
    return f"$argon2id$v=19$m={settings.argon2_memory_kib},t={settings.argon2_time},p={settings.argon2_parallelism}${salt}${tag}"


def _hasher(settings: "SecuritySettings") -> "PasswordHash":
    try:
        from pwdlib import PasswordHash
        from pwdlib.hashers.argon2 import Argon2Hasher
    except ImportError as error:
        raise RuntimeError("passwords need the extra `security`: pip install 'rakiza[security]'") from error
    argon2 = Argon2Hasher(time_cost=settings.argon2_time, memory_cost=settings.argon2_memory_kib, parallelism=settings.argon2_parallelism)
    return PasswordHash((argon2,))


def _busy() -> ServiceUnavailableError:
    return ServiceUnavailableError(
        "too many people are signing in at this moment",
        code="sign_in_busy",
        hint="try again in a few seconds",
        message_ar="عدد كبير يسجل الدخول الآن، حاول بعد ثوان",
        headers={"retry-after": "2"},
    )
