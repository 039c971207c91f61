"""What evaluations find: figures, ready for JSON, and the HTML page that shows them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affectlens.core.files import atomic_write
from affectlens.evaluation import report


@dataclass(frozen=True, eq=False)
class Report:
    """Figures of an evaluation, a comparison or an audit.

    Attributes:
        metrics: all of them, with what they are about (data, split, classes, versions, faces left out); plain
            dictionaries, lists, numbers and text, as in report.json.
        page: makes the HTML of a mapping of facts that stand at its head; `html` gives it its own.
    """

    metrics: dict[str, Any]
    page: Callable[[dict[str, str]], str]

    def html(self) -> str:
        """One self-contained HTML page.

        Raises:
            MissingExtra: the extra `report` is not installed.
        """
        report.require()
        simple = {key: value for key, value in self.metrics.items() if not isinstance(value, dict | None)}
        facts = {key.replace("_", " "): str(value) for key, value in simple.items()}
        facts |= {f"left out: {reason}": str(count) for reason, count in self.metrics["left_out"].items()}
        return self.page(facts)

    def save(self, folder: str | Path) -> Path:
        """Write report.json and report.html into `folder`, which is made where there is none; the path of the page.

        Raises:
            MissingExtra: the extra `report` is not installed. OSError: the folder cannot be written to.
        """
        folder = ready(folder)
        page = self.html()
        atomic_write(folder / "report.json", json.dumps(self.metrics, indent=2, allow_nan=False) + "\n")
        atomic_write(folder / "report.html", page)
        return folder / "report.html"


def ready(folder: str | Path) -> Path:
    """The folder of a report, made where there is none, so that a long evaluation does not end in an error.

    Raises:
        As `Report.save`.
    """
    report.require()
    folder = Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    return folder
