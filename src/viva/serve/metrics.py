"""What Prometheus is told (https://prometheus.io/docs/concepts/metric_types)."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from viva.infer.engine.engine import Core

FIRST = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)  # seconds
EACH = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
WHOLE = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)

disable_created_metrics()  # a second series for each, which nobody asks for


class Metrics:
    """Counters and histograms of requests, and what the engine holds at the moment it is asked. Times in seconds."""

    def __init__(self, core: Core):
        self.registry = CollectorRegistry()
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
        state, blocks = core.state, core.state.blocks
        held = {
            "viva_queue_length": ("Replies that wait", lambda: len(state.waiting)),
            "viva_batch_size": ("Replies that are being written", lambda: len(state.running)),
            "viva_cache_blocks": ("Blocks for keys and values", lambda: blocks.count - 1),
            "viva_cache_blocks_used": ("Blocks that replies hold", lambda: blocks.used),
        }
        for name, (what, value) in held.items():
            Gauge(name, what, **told).set_function(value)

    def page(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)
