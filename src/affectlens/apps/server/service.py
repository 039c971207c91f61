"""The components of one service."""

from dataclasses import dataclass

from affectlens.apps.light.palette import Palette
from affectlens.apps.server.engine import InferenceEngine
from affectlens.apps.server.limits import Limits
from affectlens.apps.server.metrics import ServiceMetrics
from affectlens.apps.server.upload import Uploads
from affectlens.apps.server.videos import Videos
from affectlens.runtime.analyzer import Analyzer


@dataclass(eq=False)
class Service:
    """What the routes work with.

    Attributes:
        palette: of the light of streams; None is the default one.
        streams: how many are open.
    """

    analyzer: Analyzer
    limits: Limits
    metrics: ServiceMetrics
    engine: InferenceEngine
    videos: Videos
    uploads: Uploads
    palette: Palette | None = None
    streams: int = 0

    @classmethod
    def of(cls, analyzer: Analyzer, limits: Limits, palette: Palette | None) -> "Service":
        """With everything that it needs."""
        metrics = ServiceMetrics()
        videos = Videos(analyzer, limits, metrics)
        uploads = Uploads(limits, videos.wait_for_room)
        metrics.held.set_function(lambda: uploads.held_bytes)
        return cls(analyzer, limits, metrics, InferenceEngine(analyzer, limits, metrics), videos, uploads, palette)

    def end(self) -> None:
        """Break off what could go on for long."""
        self.uploads.end()
        self.videos.end()
        self.engine.end()
