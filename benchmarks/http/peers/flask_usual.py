"""Flask with the parts most often named together: talisman, limiter, exporter, python-json-logger, OpenTelemetry, Sentry."""

import logging
import time
from logging.handlers import RotatingFileHandler

from flask import Flask, g, request
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_talisman import Talisman
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from prometheus_flask_exporter import PrometheusMetrics
from pythonjsonlogger.json import JsonFormatter
from settings import GREETING, LIMIT, LOG_FILE, start_sentry, tracer_provider


def access_logger():
    log = logging.Logger("request")
    log.propagate = False
    handler = RotatingFileHandler(LOG_FILE, maxBytes=4_000_000_000, backupCount=1)
    handler.setFormatter(JsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    log.addHandler(handler)
    return log


def add_access_log(app):
    log = access_logger()

    @app.before_request
    def before():
        g.start = time.perf_counter()

    @app.after_request
    def after(response):
        milliseconds = (time.perf_counter() - g.start) * 1000
        fields = {"method": request.method, "path": request.path, "status": response.status_code, "ms": milliseconds, "ip": request.remote_addr}
        log.info("request", extra=fields)
        return response


def make():
    start_sentry()
    app = Flask(__name__)
    add_access_log(app)
    Talisman(app, force_https=False)
    Limiter(get_remote_address, app=app, default_limits=[LIMIT], storage_uri="memory://", headers_enabled=True)
    PrometheusMetrics(app, group_by="url_rule")
    FlaskInstrumentor().instrument_app(app, tracer_provider=tracer_provider())

    @app.get("/hello")
    def hello():
        return GREETING

    return app
