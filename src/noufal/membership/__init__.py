"""Membership: who works on which project, in which role, and what the role may do.

    from noufal.membership import ROLES
    assert "boq.prices" not in ROLES["site_engineer"]
"""

from ._core import ALL_PROJECTS, GLOBAL_PERMISSIONS, PROJECT_PERMISSIONS, ROLES, role_in_project

__all__ = ["ALL_PROJECTS", "GLOBAL_PERMISSIONS", "PROJECT_PERMISSIONS", "ROLES", "role_in_project"]
