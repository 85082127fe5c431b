"""What Prometheus is told (https://prometheus.io/docs/concepts/metric_types)."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from viva.infer.engine.engine import Core

FIRST = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)  # seconds
EACH = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
WHOLE = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)

NOW = {  # by the names of infer/engine/counters.py
    "waiting": ("viva_queue_length", "Replies that wait"),
    "running": ("viva_batch_size", "Replies that are being written"),
    "blocks": ("viva_cache_blocks", "Blocks for keys and values"),
    "used": ("viva_cache_blocks_used", "Blocks that replies hold"),
    "idle": ("viva_cache_blocks_idle", "Blocks held by none, whose contents may be found again"),
}
SINCE = {
    "hits": ("viva_cache_hit_tokens", "Tokens of prompts found in the cache"),
    "misses": ("viva_cache_missed_tokens", "Tokens of prompts that had to be read"),
    "preempted": ("viva_preemptions", "Replies that had to give up their blocks for a while"),
    "drafted": ("viva_drafted_tokens", "Tokens guessed"),
    "accepted": ("viva_accepted_tokens", "Tokens guessed right"),
}

disable_created_metrics()  # a second series for each, which nobody asks for


class Engine(Collector):
    """What an engine counts, when it is asked."""

    def __init__(self, core: Core):
        self.core = core

    def collect(self) -> Iterator[Metric]:
        told = self.core.counters
        for field, (name, what) in NOW.items():
            yield GaugeMetricFamily(name, what, value=getattr(told, field))
        for field, (name, what) in SINCE.items():
            yield CounterMetricFamily(name, what, value=getattr(told, field))


class Metrics:
    """Counters and histograms of requests, and what the engine counts. Times in seconds."""

    def __init__(self, core: Core):
        self.registry = CollectorRegistry()
        self.registry.register(Engine(core))
        told = {"registry": self.registry}
        self.requests = Counter("viva_requests", "Answers by route and HTTP status", ["route", "status"], **told)
        self.refusals = Counter(
            "viva_refusals", "Requests not answered, by HTTP status and code", ["status", "code"], **told
        )
        self.left = Counter("viva_clients_left", "Requests whose client left before the end", **told)
        self.read = Counter("viva_prompt_tokens", "Tokens of prompts", **told)
        self.written = Counter("viva_output_tokens", "Tokens of replies", **told)
        self.first = Histogram("viva_time_to_first_token_seconds", "From request to token", buckets=FIRST, **told)
        self.each = Histogram("viva_time_per_output_token_seconds", "Between tokens of a reply", buckets=EACH, **told)
        self.whole = Histogram("viva_request_seconds", "From request to the end of its replies", buckets=WHOLE, **told)

    def page(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)
