"""What Prometheus reads at /metrics: requests, times of stages, what waits, sizes of batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class Metrics:
    """The numbers of one service."""

    def __init__(
        self,
        n_items: Callable[[], float],
        n_open: Callable[[], float],
        n_waiting: Callable[[], float],
    ) -> None:
        """Gauges are asked for when they are read."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        labels = ("route", "method", "status")
        self._requests = Counter(
            "vsa_requests", "Requests that were answered", labels, registry=self.registry
        )
        self._seconds = Histogram(
            "vsa_request_seconds",
            "From a request's head to its answer",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._stages = Histogram(
            "vsa_stage_seconds",
            "Of a search, by stage",
            ("stage",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batches = Histogram(
            "vsa_batch_photos",
            "Photos that passed the networks together",
            buckets=range(1, 33),
            registry=self.registry,
        )
        for name, told, value in (
            ("vsa_items", "Pictures that can be found", n_items),
            ("vsa_open_requests", "Requests that are read or answered now", n_open),
            ("vsa_waiting_searches", "Searches that wait for an answer now", n_waiting),
        ):
            Gauge(name, told, registry=self.registry).set_function(value)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request; `route` is a template, of which there are few."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def searched(self, stage_ms: Mapping[str, float]) -> None:
        """Note how long the stages of a search took."""
        for stage, spent in stage_ms.items():
            self._stages.labels(stage).observe(spent / 1e3)

    def text(self) -> bytes:
        """All of them, in Prometheus' text format."""
        return generate_latest(self.registry)
