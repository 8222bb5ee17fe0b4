"""The members of a project: show, add, change and remove them."""

import msgspec
from sqlalchemy import ColumnElement, delete, insert, select, update

from noufal._cache import user_tag
from noufal._history import Fact
from noufal.membership import ROLES
from noufal.membership.tables import member
from noufal.money import refused
from rakiza._kernel import Audit, Clock, Principal
from rakiza.errors import NotFoundError
from rakiza.security import Security, User
from rakiza.store import Store, Transaction

from .service import Access, Projects


class Member(msgspec.Struct, frozen=True):
    """Show one member of a project."""

    id: str
    name: str
    email: str
    role: str


class MemberList(msgspec.Struct, frozen=True):
    """Hold the members of a project by e-mail address, and the roles there are."""

    items: list[Member]
    roles: list[str]


class MemberChange(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Give the user with this e-mail address a role in a project."""

    email: str
    role: str


class Members:
    """Keep who works on which project; whoever holds `members.manage` decides."""

    def __init__(self, store: Store, clock: Clock, audit: Audit, projects: Projects, security: Security) -> None:
        self._store, self._clock, self._audit = store, clock, audit
        self._history, self._projects, self._security = projects.history, projects, security

    def list(self, caller: Principal, code: str) -> MemberList:
        """Return the members of a project; raise NotFoundError or ForbiddenError."""
        with self._store.read() as tx:
            access = self._projects.access(tx, caller, code, "members.manage")
            mine = (member.c.tenant_id == access.tenant, member.c.project_id == access.project_id)
            roles = {row.user_id: row.role for row in tx.execute(select(member.c.user_id, member.c.role).where(*mine))}
        shown = [_shown(user, roles[user.key]) for user in self._security.list_users() if user.key in roles]
        return MemberList(shown, list(ROLES))

    def put(self, caller: Principal, code: str, change: MemberChange) -> Member:
        """Add a user to a project or give them another role; raise NotFoundError, ForbiddenError or ValidationError for an unknown role or user."""
        with self._store.begin() as tx:
            access = self._projects.access(tx, caller, code, "members.manage")
            if change.role not in ROLES:
                raise refused("role", f"{change.role!r} is not one of {', '.join(ROLES)}", "دور غير معروف")
            user = self._user(change.email)
            self._projects.lock(tx, access)
            before = tx.scalar(select(member.c.role).where(*_one(access, user)))
            if before is not None:
                tx.execute(update(member).where(*_one(access, user)).values(role=change.role))
            else:
                own = {"tenant_id": access.tenant, "project_id": access.project_id, "user_id": user.key}
                tx.execute(insert(member).values(**own, role=change.role, created_at=self._clock.now()))
            if before != change.role:
                fact = Fact("project.member_set", {"user": user.id, "role": change.role, "before": before})
                self._history.record(tx, caller, access.code, [fact])
            self._record(tx, caller, access, user, change.role)
        return _shown(user, change.role)

    def remove(self, caller: Principal, code: str, user_id: str) -> None:
        """Take a user off a project; raise NotFoundError for somebody who is not on it, ForbiddenError."""
        with self._store.begin() as tx:
            access = self._projects.access(tx, caller, code, "members.manage")
            user = next((user for user in self._security.list_users() if user.id == user_id), None)
            role = tx.scalar(delete(member).where(*_one(access, user)).returning(member.c.role)) if user else None
            if user is None or role is None:
                raise NotFoundError("no such member of this project", message_ar="هذا المستخدم ليس من أعضاء المشروع")
            self._history.record(tx, caller, access.code, [Fact("project.member_removed", {"user": user.id, "role": role})])
            self._record(tx, caller, access, user)

    def _user(self, email: str) -> User:
        user = self._security.find_user(email) if "\0" not in email else None
        if user is None:
            raise refused(
                "email", f"there is no user {email!r}; an administrator creates users", "لا يوجد مستخدم بهذا البريد، والمدير هو من ينشئ المستخدمين"
            )
        return user

    def _record(self, tx: Transaction, caller: Principal, access: Access, user: User, role: str | None = None) -> None:
        self._projects.cache.invalidate(tx, user_tag(user.key))
        action, details = "UPDATE" if role else "DELETE", {"member": user.id, "role": role}
        self._audit.record("privilege_permissions_changed", action, f"project:{access.code}/members", details, caller.id, tx=tx)


def _one(access: Access, user: User) -> tuple[ColumnElement[bool], ...]:
    return (member.c.tenant_id == access.tenant, member.c.project_id == access.project_id, member.c.user_id == user.key)


def _shown(user: User, role: str) -> Member:
    return Member(user.id, user.name, user.email, role)
