"""The ERP as an application: Litestar inside, the platform's pass around."""

import gc
from collections.abc import Mapping
from functools import cache

import msgspec
from litestar import Litestar, Response, get
from litestar.handlers.http_handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme

from noufal import __doc__ as about
from noufal._http import PERMISSION, ErpRequest, check_permissions, error_handlers, guard
from noufal.boq.http import MULTIPART_OVERHEAD
from noufal.boq.http import handlers as boq_handlers
from noufal.part import Erp
from noufal.projects.http import handlers as project_handlers
from noufal.settings import NoufalSettings
from rakiza import Platform, __version__, build
from rakiza._kernel import PUBLIC, SettingsReader
from rakiza.security import COOKIE

JSON_BODY_BYTES = 1024 * 1024


def create_platform(settings: Mapping[str, Mapping[str, object]] | None = None, environ: Mapping[str, str] | None = None) -> Platform:
    """Build the platform with the ERP's part; raise SettingsError."""
    given: dict[str, Mapping[str, object]] = dict(settings or {})
    own = SettingsReader({"noufal": given.get("noufal", {})}, environ=environ).read(NoufalSettings)
    given["hub"] = {"name": "noufal", "home": own.home, **given.get("hub", {})}
    web = {"protect_application": True, "max_body_bytes": own.max_import_bytes + MULTIPART_OVERHEAD}
    given["web"] = {**web, **given.get("web", {})}
    return build(given, extra=["noufal.part"], environ=environ)


def create_app(platform: Platform | None = None) -> Litestar:
    """Build the application around a platform; serve what this returns."""
    platform = platform or create_platform()
    describe = cache(lambda: _description(_handlers(platform)))  # made at the first question: few ask

    @get("/api/openapi.json", opt={PERMISSION: PUBLIC}, include_in_schema=False)
    async def openapi() -> Response[bytes]:
        return Response(await platform.ctx.pool.run(describe), media_type="application/json")

    app = Litestar(
        [openapi, *_handlers(platform)],
        guards=[guard],
        request_class=ErpRequest,
        exception_handlers=error_handlers(platform),  # type: ignore[arg-type] # handlers of narrower exceptions
        openapi_config=None,
        logging_config=None,
        request_max_body_size=JSON_BODY_BYTES,
    )
    check_permissions(app)
    platform.wrap(app)
    app.on_startup.append(_settle)
    return app


def create_web_app() -> Litestar:
    """Build the application in a process that leaves the jobs to workers."""
    platform = create_platform()
    platform.ctx.works = False
    return create_app(platform)


async def _settle() -> None:
    """Take what the start made out of the garbage collector's rounds, which else halt every request for 60 ms twice a second."""
    gc.collect()
    gc.freeze()


def _handlers(platform: Platform) -> list[HTTPRouteHandler]:
    erp, pool = platform.service("noufal", Erp), platform.ctx.pool
    bills = boq_handlers(erp.bills, erp.importer, erp.background, erp.timeline, pool, max_import_bytes=erp.settings.max_import_bytes)
    return [*project_handlers(erp.projects, erp.members, pool), *bills]


def _description(handlers: list[HTTPRouteHandler]) -> bytes:
    """Return the OpenAPI description of the routes; Litestar's own pages for it would be routes nobody declared."""
    session = SecurityScheme(type="apiKey", security_scheme_in="cookie", name=COOKIE, description="opened by POST /api/auth/login")
    config = OpenAPIConfig(
        title="noufal",
        version=__version__,
        description=about,
        components=Components(security_schemes={"session": session}),
        security=[{"session": []}],
    )
    described = Litestar(handlers, openapi_config=config, logging_config=None)
    return msgspec.json.encode(described.openapi_schema.to_schema())
