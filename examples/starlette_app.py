"""A Starlette application with the platform around it. Run it from this folder: `rakiza serve starlette_app:app`."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from rakiza import integrate
from rakiza.errors import NotFoundError

PROJECTS = {"VILLA-01": "فيلا النرجس"}


async def project(request: Request) -> JSONResponse:
    """Answer one project; an unknown code becomes a 404 in problem+json."""
    code = request.path_params["code"]
    if code not in PROJECTS:
        raise NotFoundError(f"there is no project {code}", message_ar=f"لا يوجد مشروع {code}")
    return JSONResponse({"code": code, "name": PROJECTS[code]})


app = Starlette(routes=[Route("/projects/{code}", project)])
platform = integrate(app)
platform.setup_error_handlers()
