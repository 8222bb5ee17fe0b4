"""Roles in a project and what each may do; fixed in code, denied by default."""

ROLES: dict[str, frozenset[str]] = {
    "manager": frozenset(
        {"project.read", "project.edit", "members.manage", "boq.read", "boq.prices", "boq.import", "boq.edit", "boq.export", "progress.enter"}
    ),
    "planner": frozenset({"project.read", "boq.read", "boq.prices", "boq.export", "progress.enter"}),
    "qs": frozenset({"project.read", "boq.read", "boq.prices", "boq.import", "boq.edit", "boq.export", "progress.enter"}),
    "site_engineer": frozenset({"project.read", "boq.read", "boq.export", "progress.enter"}),
    "accountant": frozenset({"project.read", "boq.read", "boq.prices", "boq.export"}),
    "consultant": frozenset({"project.read", "boq.read", "boq.prices", "boq.export"}),
    "viewer": frozenset({"project.read", "boq.read"}),
}
PROJECT_PERMISSIONS = frozenset().union(*ROLES.values())
GLOBAL_PERMISSIONS = {"admin": frozenset({"projects.create", "projects.all"}), "member": frozenset()}
ALL_PROJECTS = "projects.all"


def role_in_project(sees_all: bool, member_role: str | None) -> str | None:
    """Return the role that counts: whoever sees all projects manages them; none means the project does not exist for the caller."""
    return member_role if member_role in ROLES and not sees_all else ("manager" if sees_all else None)
