"""What the agent tells of itself: log lines without secrets, and traces and metrics over OTLP where that is set up.

Content (what people say, what tools answer) is in no trace unless it is asked for. No backend is assumed: the usual
`OTEL_EXPORTER_OTLP_*` variables say where to.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from agent.redact import mask

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.trace.export import SpanExporter

NOISY = ("httpx", "httpx2", "httpcore", "httpcore2", "openai", "anthropic", "google", "urllib3", "telegram", "asyncio")
"""Libraries whose log lines hold URLs, and with them tokens, at a level below warning."""


class Counts:
    """What the agent counts: messages by how they ended, and commits by what became of them."""

    def __init__(self) -> None:
        self._meter: Meter | None = None

    def use(self, meter: Meter | None) -> None:
        """Count there from now on; None: nowhere."""
        self._meter = meter

    def add(self, name: str, amount: int = 1, **attributes: str) -> None:
        """Count something; attributes never hold what was said or who said it."""
        if self._meter is not None:
            self._meter.create_counter(f"voxnix.agent.{name}").add(amount, attributes)


counts = Counts()


class Masked(logging.Filter):
    """Takes secrets out of every record that passes, its error included."""

    def filter(self, record: logging.LogRecord) -> bool:
        """The record goes on, without secrets."""
        record.msg, record.args = mask(record.getMessage()), None
        if record.exc_info:
            record.exc_text = mask(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None
        return True


def logs(*, verbose: bool = False, quiet: bool = False) -> None:
    """Log to standard error, one line a record, as the journal likes it; `quiet`: only what is wrong."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(Masked())
    plain = "%(levelname)s %(name)s %(message)s"
    handler.setFormatter(logging.Formatter(plain if "JOURNAL_STREAM" in os.environ else f"%(asctime)s {plain}"))
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO, handlers=[handler], force=True
    )
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)


def traces(
    *, content: bool = False, exporter: SpanExporter | None = None, reader: MetricReader | None = None
) -> Callable[[], None] | None:
    """Send traces and metrics of the model's runs; what ends it, or None where no endpoint is set and none is given."""
    if exporter is None and not any(key.startswith("OTEL_EXPORTER_OTLP") for key in os.environ):
        return None
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
    from pydantic_ai import Agent, InstrumentationSettings

    resource = Resource.create({"service.name": "voxnix-agent"})
    tracing = TracerProvider(resource=resource)
    readers = [reader] if reader else []
    if exporter is None:
        tracing.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        readers.append(PeriodicExportingMetricReader(OTLPMetricExporter()))
    else:
        tracing.add_span_processor(SimpleSpanProcessor(exporter))
    metering = MeterProvider(resource=resource, metric_readers=readers)
    settings: dict[str, Any] = {"tracer_provider": tracing, "meter_provider": metering, "include_content": content}
    Agent.instrument_all(InstrumentationSettings(**settings, include_model_request_parameters=content))
    counts.use(metering.get_meter("voxnix.agent"))

    def end() -> None:
        Agent.instrument_all(False)
        counts.use(None)
        tracing.shutdown()
        metering.shutdown()

    return end
