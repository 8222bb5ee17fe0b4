"""The registry of roles and what each may do."""

import threading
from collections.abc import Iterable

from rakiza._kernel import OPS_ADMIN, OPS_READ, OPS_WRITE

USERS_MANAGE = "users.manage"
_PLATFORM = {
    "member": frozenset[str](),
    "viewer": frozenset({OPS_READ}),
    "operator": frozenset({OPS_READ, OPS_WRITE}),
    "admin": frozenset({OPS_READ, OPS_WRITE, OPS_ADMIN, USERS_MANAGE}),
}


class Roles:
    """Hold the permissions of each role; an application adds its own before the start."""

    def __init__(self) -> None:
        self._roles = dict(_PLATFORM)
        self.restart()

    def restart(self) -> None:
        """Take a new lock in a forked child."""
        self._lock = threading.Lock()

    def define(self, name: str, permissions: Iterable[str] = ()) -> None:
        """Add permissions to a role, made when it is new; raise ValueError for a name of no characters."""
        if not name.strip():
            raise ValueError("a role needs a name")
        with self._lock:
            self._roles[name] = self._roles.get(name, frozenset()) | frozenset(permissions)

    def permissions(self, name: str) -> frozenset[str]:
        """Return what a role may do: nothing for a role nobody defined."""
        return self._roles.get(name, frozenset())

    def names(self) -> tuple[str, ...]:
        """Return the names of all roles in order."""
        return tuple(sorted(self._roles))

    def __contains__(self, name: object) -> bool:
        """Tell whether the role is defined."""
        return name in self._roles
