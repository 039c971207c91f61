"""Metrics of the service for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 2, 5, 10, 60, 600)


class ServiceMetrics:
    """Counters of one service, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = own = CollectorRegistry()
        ProcessCollector(registry=own)
        self.requests = Counter("affectlens_requests", "Answered requests.", ["path", "status"], registry=own)
        self.seconds = Histogram(
            "affectlens_request_seconds",
            "Time from the request to the start of the response.",
            ["path"],
            buckets=_SECONDS,
            registry=own,
        )
        self.pictures = Counter("affectlens_pictures", "Photos and frames analyzed.", ["kind"], registry=own)
        self.faces = Counter("affectlens_faces", "Faces read.", registry=own)
        self.waiting = Gauge("affectlens_waiting", "Photos and frames in progress.", registry=own)
        self.streams = Gauge("affectlens_streams", "Open streams.", registry=own)
        self.videos = Gauge("affectlens_videos", "Videos being analyzed.", registry=own)
        self.held = Gauge("affectlens_upload_held_bytes", "Size of uploads in memory.", registry=own)

    def count(self, kind: str, faces: int) -> None:
        """One picture more, with so many faces."""
        self.pictures.labels(kind).inc()
        self.faces.inc(faces)

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self._registry)
