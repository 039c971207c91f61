"""Results of evaluations: JSON-serialisable metrics, and the HTML page that shows them."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affectlens.core.files import atomic_write
from affectlens.evaluation import report


@dataclass(frozen=True, eq=False)
class Report:
    """Results of an evaluation, a comparison, an audit or a summary.

    Attributes:
        metrics: all metrics and their context (data, split, classes, versions, samples left out), as plain
            dictionaries, lists, numbers and text, as in report.json.
        page: function that renders the HTML; `html` first checks that the required packages are installed.
    """

    metrics: dict[str, Any]
    page: Callable[[], str]

    def html(self) -> str:
        """Render one self-contained HTML page.

        Raises:
            MissingExtra: the extra `report` is not installed.
        """
        report.require()
        return self.page()

    def save(self, folder: str | Path) -> Path:
        """Write report.json and report.html to `folder`, which is created if missing; returns the path of the page.

        Raises:
            MissingExtra: the extra `report` is not installed. OSError: the folder cannot be written to.
        """
        folder = ready(folder)
        page = self.html()
        atomic_write(folder / "report.json", json.dumps(self.metrics, indent=2, allow_nan=False) + "\n")
        atomic_write(folder / "report.html", page)
        return folder / "report.html"


def ready(folder: str | Path) -> Path:
    """The folder of a report, created if missing before a long evaluation begins.

    Raises:
        As `Report.save`.
    """
    report.require()
    folder = Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def heading(metrics: Mapping[str, Any]) -> dict[str, str]:
    """What stands at the head of the page of an evaluation: what it is about, and what was left out."""
    simple = {key: value for key, value in metrics.items() if not isinstance(value, dict | None)}
    facts = {key.replace("_", " "): str(value) for key, value in simple.items()}
    return facts | {f"left out: {reason}": str(count) for reason, count in metrics["left_out"].items()}
