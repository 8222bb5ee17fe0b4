"""Projects of a contractor: code, names, client, dates, currency, VAT rate; seen only by their members.

    page = projects.page(caller)
    members.put(caller, "VILLA-01", MemberChange(email="qs@example.com", role="qs"))
"""

from .members import Member, MemberChange, MemberList, Members
from .service import DEFAULT_VAT_BP, Access, NewProject, Project, ProjectChange, ProjectPage, Projects

__all__ = [
    "DEFAULT_VAT_BP",
    "Access",
    "Member",
    "MemberChange",
    "MemberList",
    "Members",
    "NewProject",
    "Project",
    "ProjectChange",
    "ProjectPage",
    "Projects",
]
