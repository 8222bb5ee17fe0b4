"""The HTTP routes of projects and their members."""

from typing import Annotated

from litestar import delete, get, patch, post, put
from litestar.handlers.http_handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from noufal._http import PROBLEMS, caller
from rakiza._kernel import SIGNED_IN, WorkerPool

from .members import Member, MemberChange, MemberList, Members
from .service import MAX_PAGE, NewProject, Project, ProjectChange, ProjectPage, Projects

PageSize = Annotated[int, QueryParameter(ge=1, le=MAX_PAGE)]


def handlers(projects: Projects, members: Members, pool: WorkerPool) -> list[HTTPRouteHandler]:
    """Return the route handlers of projects and their members."""

    @get("/api/projects", opt={"permission": SIGNED_IN}, summary="The caller's projects", responses=PROBLEMS)
    async def list_projects(limit: PageSize = 50, cursor: FromQuery[str | None] = None) -> ProjectPage:
        return await pool.run(projects.page, caller(), limit, cursor)

    @post("/api/projects", opt={"permission": "projects.create"}, summary="Create a project", responses=PROBLEMS)
    async def create_project(data: JSONBody[NewProject]) -> Project:
        return await pool.run(projects.create, caller(), data)

    @get("/api/projects/{code:str}", opt={"permission": "project.read"}, summary="One project", responses=PROBLEMS)
    async def get_project(code: FromPath[str]) -> Project:
        return await pool.run(projects.get, caller(), code)

    @patch("/api/projects/{code:str}", opt={"permission": "project.edit"}, summary="Change a project", responses=PROBLEMS)
    async def change_project(code: FromPath[str], data: JSONBody[ProjectChange]) -> Project:
        return await pool.run(projects.change, caller(), code, data)

    return [list_projects, create_project, get_project, change_project, *_member_handlers(members, pool)]


def _member_handlers(members: Members, pool: WorkerPool) -> list[HTTPRouteHandler]:
    @get("/api/projects/{code:str}/members", opt={"permission": "members.manage"}, summary="The members of a project", responses=PROBLEMS)
    async def list_members(code: FromPath[str]) -> MemberList:
        return await pool.run(members.list, caller(), code)

    @put("/api/projects/{code:str}/members", opt={"permission": "members.manage"}, summary="Add a member or change their role", responses=PROBLEMS)
    async def put_member(code: FromPath[str], data: JSONBody[MemberChange]) -> Member:
        return await pool.run(members.put, caller(), code, data)

    @delete("/api/projects/{code:str}/members/{user_id:str}", opt={"permission": "members.manage"}, summary="Remove a member", responses=PROBLEMS)
    async def remove_member(code: FromPath[str], user_id: FromPath[str]) -> None:
        await pool.run(members.remove, caller(), code, user_id)

    return [list_members, put_member, remove_member]
