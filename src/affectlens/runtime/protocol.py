"""What streams, pipelines and sources need of an analyzer, so that they do not import `runtime.analyzer`, which uses
them.
"""

from typing import Any, Protocol

from affectlens.core.detection import Detector
from affectlens.runtime.analysis import Analysis
from affectlens.runtime.recognizer import Recognizer


class FaceAnalyzer(Protocol):
    """A detector and a recognizer, as `runtime.analyzer.Analyzer` has them."""

    recognizer: Recognizer

    @property
    def detector(self) -> Detector:
        """Finds the faces."""
        ...

    def analyze(self, source: Any, name: str = "") -> Analysis:
        """Analyze one image."""
        ...
