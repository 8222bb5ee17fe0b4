"""Projects of a contractor: code, names, client, dates, currency, VAT rate; seen only by their members.

    from noufal.app import create_platform
    from noufal.part import Erp
    from noufal.projects import NewProject
    from noufal.seed import COMMAND_LINE
    platform = create_platform()
    platform.start()
    projects = platform.service("noufal", Erp).projects
    projects.create(COMMAND_LINE, NewProject(code="VILLA-09", name="فيلا النرجس"))
    assert [project.code for project in projects.page(COMMAND_LINE).items] == ["VILLA-09"]
    platform.shutdown()
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
