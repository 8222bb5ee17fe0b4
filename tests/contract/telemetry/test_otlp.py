"""What a real OTLP/HTTP receiver gets: the same ids, names, times and attributes as the local history."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from otlp import Receiver
from rakiza import build
from rakiza._kernel import SettingsError
from rakiza.telemetry import get_tracer

PARENT = "b7ad6b7169203331"
TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_the_collector_gets_what_the_history_keeps(host: Callable[..., Any]) -> None:
    def work() -> None:
        with get_tracer("موقع").start_as_current_span("حساب", attributes={"n": 1, "ok": True, "share": 0.5, "list": ["أ", "ب"]}) as span:
            span.add_event("بدأ", {"n": 1})
        raise RuntimeError("عطل")

    with Receiver() as receiver:
        made = host(
            work,
            otlp_endpoint=receiver.address,
            otlp_headers="x-tenant=a%2Cb,authorization=Bearer%20abc%3D",
            otlp_compression="gzip",
            service_name="مدفوعات",
            resource_attributes="deployment.environment.name=تجربة,team=site",
        )
        made.ask("/مشروع/1", traceparent=f"00-{TRACE}-{PARENT}-01")
        server, internal = receiver.wait_for(TRACE, 2)
        made.platform.tracer.flush()
        shown = made.ask(f"/api/traces/{TRACE}").json()["spans"]
        (line,) = [each for each in lines(made, "_requests") if each["trace_id"] == TRACE]
    assert [span.span_id.hex() for span in (server, internal)] == [span["span_id"] for span in shown]
    assert [span.parent_span_id.hex() for span in (server, internal)] == [PARENT, server.span_id.hex()]
    assert line["span_id"] == server.span_id.hex()
    assert [span.name for span in (server, internal)] == ["GET /مشروع/{code}", "حساب"]
    assert [span.kind for span in (server, internal)] == [server.SPAN_KIND_SERVER, server.SPAN_KIND_INTERNAL]
    assert server.status.code == server.status.STATUS_CODE_ERROR
    assert server.start_time_unix_nano <= internal.start_time_unix_nano <= internal.end_time_unix_nano <= server.end_time_unix_nano + 1000
    said = {each.key: each.value for each in internal.attributes}
    assert (said["n"].int_value, said["ok"].bool_value, said["share"].double_value) == (1, True, 0.5)
    assert [each.string_value for each in said["list"].array_value.values] == ["أ", "ب"]
    assert [event.name for event in internal.events] == ["بدأ"]
    assert [event.name for event in server.events] == ["exception"]
    resource = receiver.resources[0]
    assert (resource["service.name"], resource["deployment.environment.name"], resource["team"]) == ("مدفوعات", "تجربة", "site")
    sent = {name.lower(): value for name, value in receiver.headers[0].items()}
    assert (sent["authorization"], sent["x-tenant"], sent["content-encoding"]) == ("Bearer abc=", "a,b", "gzip")


def lines(made: Any, kind: str) -> list[dict[str, Any]]:
    made.platform.logs.flush()
    path = made.platform.ctx.home / "logs" / f"site{kind}.log"
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_standard_names_are_read(tmp_path: Path, python_process: Callable[..., Any]) -> None:
    source = """
import sys
from rakiza import build
platform = build({"hub": {"home": sys.argv[1]}})
platform.start()
with platform.tracer.provider.get_tracer("x").start_as_current_span("وظيفة"):
    pass
print("ready", platform.tracer.settings.ratio, flush=True)
platform.shutdown()
"""
    with Receiver() as receiver:
        names = {
            "OTEL_SERVICE_NAME": "مواقع",
            "OTEL_RESOURCE_ATTRIBUTES": "service.version=1.2",
            "OTEL_TRACES_SAMPLER": "parentbased_always_on",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "10000",
        }
        (tmp_path / ".env").write_text(f"OTEL_EXPORTER_OTLP_ENDPOINT={receiver.address}/\nOTEL_EXPORTER_OTLP_HEADERS=x-key=a%2Cb\n")
        child = python_process(source, str(tmp_path / "home"), env=names, cwd=tmp_path)
        assert child.finish()[-1] == "ready 1.0"
    assert [span.name for span in receiver.spans] == ["وظيفة"]
    assert (receiver.resources[0]["service.name"], receiver.resources[0]["service.version"]) == ("مواقع", "1.2")
    assert {name.lower(): value for name, value in receiver.headers[0].items()}["x-key"] == "a,b"


@pytest.mark.parametrize("names", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}, {}])
def test_nothing_is_exported_unless_asked_for(tmp_path: Path, names: dict[str, str]) -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", **names} if names else {}
    platform = build({"hub": {"home": str(tmp_path)}}, environ=environ)
    assert "otlp" not in {check.name for part in platform.parts for check in part.checks}


@pytest.mark.parametrize(
    ("name", "value"),
    [("OTEL_TRACES_SAMPLER", "jaeger_remote"), ("OTEL_TRACES_SAMPLER_ARG", "2"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_SDK_DISABLED", "x")],
)
def test_what_is_not_supported_is_named(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        build({"hub": {"home": str(tmp_path)}}, environ={name: value})


def test_without_the_extra_the_error_names_it(tmp_path: Path) -> None:
    source = """
import sys
sys.modules["opentelemetry.exporter.otlp.proto.http"] = None
from rakiza import build
build({"hub": {"home": sys.argv[1]}}, environ={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"})
"""
    done = subprocess.run([sys.executable, "-c", source, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False)
    assert 'pip install "rakiza[otlp]"' in done.stderr.splitlines()[-1]
    assert "SettingsError" in done.stderr


def test_the_exporter_and_the_sdk_are_loaded_only_when_they_are_needed(tmp_path: Path) -> None:
    source = """
import sys
from rakiza import build
platform = build({"hub": {"home": sys.argv[1]}, "telemetry": {"sample_ratio": 1.0}}, environ={})
platform.start()
with platform.tracer.provider.get_tracer("x").start_as_current_span("y"):
    pass
platform.shutdown()
print([name for name in ("opentelemetry.sdk", "opentelemetry.exporter", "requests", "google.protobuf") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", source, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
