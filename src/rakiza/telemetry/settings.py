"""Settings of tracing and metrics."""

from typing import Annotated, ClassVar, Literal

import msgspec

from rakiza._kernel import RoomSettings

_Ratio = Annotated[float, msgspec.Meta(ge=0, le=1)]
_Sampler = Literal["parentbased_traceidratio", "traceidratio", "parentbased_always_on", "always_on", "parentbased_always_off", "always_off"]
_OTLP = ("protocol", "endpoint", "headers", "timeout", "compression", "certificate", "traces_endpoint")
_Seconds = Annotated[float, msgspec.Meta(gt=0)]


class TelemetrySettings(RoomSettings, frozen=True, kw_only=True):
    """Say which requests are traced, what is kept here and what goes to a collector; the `OTEL_` names are OpenTelemetry's own."""

    room: ClassVar[str] = "telemetry"
    env: ClassVar[dict[str, str]] = {
        "service_name": "OTEL_SERVICE_NAME", "resource_attributes": "OTEL_RESOURCE_ATTRIBUTES", "disabled": "OTEL_SDK_DISABLED",
        "sampler": "OTEL_TRACES_SAMPLER", "sampler_arg": "OTEL_TRACES_SAMPLER_ARG", "exporter": "OTEL_TRACES_EXPORTER",
        **{f"otlp_{name}": f"OTEL_EXPORTER_OTLP_{name.upper()}" for name in _OTLP},
    }

    sample_ratio: _Ratio = 0.1
    """Share of the requests that are traced, decided before anything is built; errors and slow requests are kept whatever it says."""
    sampler: _Sampler = "parentbased_traceidratio"
    """How it is decided; `parentbased_` follows a trusted caller. `always_off` keeps not even errors."""
    sampler_arg: _Ratio | None = None
    """The share again, by OpenTelemetry's name; wins over `sample_ratio`."""
    disabled: bool = False
    """Trace nothing."""
    slow_seconds: _Seconds = 1.0
    """A request that takes longer is kept and listed as slow."""
    slow_query_seconds: Annotated[float, msgspec.Meta(ge=0.001)] = 0.2
    """A statement that takes longer is listed as slow and logged."""
    repeated_statements: Annotated[int, msgspec.Meta(ge=2, le=512)] = 10
    """How often one statement may run in a request before it is listed as repeated (N+1)."""
    retention_days: Annotated[float, msgspec.Meta(ge=0)] = 7.0
    """How long finished traces stay on this machine; 0 keeps none."""
    service_name: str = ""
    """Name of this service in traces; the application's name when empty."""
    resource_attributes: str = ""
    """More about this service, as `key=value,key=value`."""
    exporter: Literal["otlp", "none"] = "otlp"
    """Where traces go when an endpoint is set; `none` keeps them here."""
    otlp_protocol: Literal["http/protobuf"] = "http/protobuf"
    """The protocol spoken with the collector."""
    otlp_endpoint: str = ""
    """Address of the collector without `/v1/traces`; empty exports nothing."""
    otlp_headers: str = ""
    """Headers for the collector, as `key=value,key=value`, percent-encoded."""
    otlp_timeout: _Seconds | None = None
    """Seconds one export may take with its retries, 10 when empty; above 300 they are milliseconds, as OpenTelemetry's specification has it."""
    otlp_compression: Literal["", "none", "gzip", "deflate"] = ""
    """How exports are compressed."""
    otlp_certificate: str = ""
    """File of the certificate authority that signed the collector's certificate."""
    otlp_traces_endpoint: str = ""
    """Full address for traces alone; wins over `otlp_endpoint`."""

    @property
    def endpoint(self) -> str:
        """Return the full address traces are sent to; empty when they stay here."""
        if self.disabled or self.exporter == "none":
            return ""
        return self.otlp_traces_endpoint or (self.otlp_endpoint and self.otlp_endpoint.rstrip("/") + "/v1/traces")

    @property
    def ratio(self) -> float:
        """Return the share of the requests that are traced."""
        if self.disabled or self.sampler.endswith("always_off"):
            return 0.0
        return 1.0 if self.sampler.endswith("always_on") else self.sample_ratio if self.sampler_arg is None else self.sampler_arg
