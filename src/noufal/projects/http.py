"""The HTTP routes of projects."""

from litestar import get, patch, post
from litestar.handlers.http_handlers import HTTPRouteHandler
from litestar.params import Parameter

from noufal._http import caller
from rakiza._kernel import SIGNED_IN

from .service import MAX_PAGE, NewProject, Project, ProjectChange, ProjectPage, Projects


def handlers(projects: Projects) -> list[HTTPRouteHandler]:
    """Return the route handlers of projects."""

    @get("/api/projects", opt={"permission": SIGNED_IN}, sync_to_thread=True, summary="The caller's projects")
    def list_projects(limit: int = Parameter(default=50, ge=1, le=MAX_PAGE), cursor: str | None = None) -> ProjectPage:
        return projects.page(caller(), limit, cursor)

    @post("/api/projects", opt={"permission": "projects.create"}, sync_to_thread=True, summary="Create a project")
    def create_project(data: NewProject) -> Project:
        return projects.create(caller(), data)

    @get("/api/projects/{code:str}", opt={"permission": "project.read"}, sync_to_thread=True, summary="One project")
    def get_project(code: str) -> Project:
        return projects.get(caller(), code)

    @patch("/api/projects/{code:str}", opt={"permission": "project.edit"}, sync_to_thread=True, summary="Change a project")
    def change_project(code: str, data: ProjectChange) -> Project:
        return projects.change(caller(), code, data)

    return [list_projects, create_project, get_project, change_project]
