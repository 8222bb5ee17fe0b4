"""The ERP as an application: Litestar inside, the platform's pass around."""

from collections.abc import Mapping

from litestar import Litestar, Router, get
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from noufal import __doc__ as about
from noufal._http import PERMISSION, check_permissions, error_handlers, guard
from noufal.boq.http import MULTIPART_OVERHEAD
from noufal.boq.http import handlers as boq_handlers
from noufal.part import Erp
from noufal.projects.http import handlers as project_handlers
from noufal.settings import NoufalSettings
from rakiza import Platform, __version__, build
from rakiza._kernel import PUBLIC, SettingsReader

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
    erp = platform.service("noufal", Erp)

    @get("/api/openapi.json", opt={PERMISSION: PUBLIC}, include_in_schema=False, sync_to_thread=False)
    def openapi() -> dict[str, object]:
        return app.openapi_schema.to_schema()

    app = Litestar(
        [
            openapi,
            *project_handlers(erp.projects, erp.members, platform.ctx.pool),
            *boq_handlers(erp.bills, erp.importer, platform.ctx.pool, erp.settings.max_import_bytes),
        ],
        guards=[guard],
        exception_handlers=error_handlers(platform),  # type: ignore[arg-type] # handlers of narrower exceptions
        openapi_config=OpenAPIConfig(
            title="noufal",
            version=__version__,
            description=about,
            render_plugins=[JsonRenderPlugin()],
            openapi_router=Router("/api/openapi", route_handlers=[], opt={PERMISSION: PUBLIC}, include_in_schema=False),
        ),
        logging_config=None,
        request_max_body_size=JSON_BODY_BYTES,
    )
    check_permissions(app)
    platform.wrap(app)
    return app
