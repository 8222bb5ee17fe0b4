"""Projects of a contractor: code, names, client, dates, currency, VAT rate; seen only by their members.

    page = projects.page(caller)
"""

from .service import Access, NewProject, Project, ProjectChange, ProjectPage, Projects

__all__ = ["Access", "NewProject", "Project", "ProjectChange", "ProjectPage", "Projects"]
