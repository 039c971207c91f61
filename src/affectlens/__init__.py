"""Facial expression and affect recognition; the public API, imported lazily so that `import affectlens` is fast."""

import importlib
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from affectlens.apps.server.client import Client
    from affectlens.core.affect import Explanation, Face
    from affectlens.core.columns import Column, Kind
    from affectlens.core.detection import Detections
    from affectlens.core.errors import (
        AffectLensError,
        BadData,
        BadModelFile,
        BadSetting,
        MissingExtra,
        ServiceError,
        UnknownName,
        UnreadableMedia,
    )
    from affectlens.core.measures import Measure, View
    from affectlens.core.progress import Progress
    from affectlens.core.quality import Quality
    from affectlens.core.reasons import Reason
    from affectlens.core.series import EventKind, StreamEvent
    from affectlens.data.table import FaceTable
    from affectlens.evaluation.corruptions import corrupt
    from affectlens.runtime.analysis import Analysis
    from affectlens.runtime.analyzer import Analyzer
    from affectlens.runtime.batches import BatchAnalyzer
    from affectlens.runtime.environment import environment
    from affectlens.runtime.frames import read_table, to_pandas
    from affectlens.runtime.media import read_image
    from affectlens.runtime.sample_frames import sample_frames
    from affectlens.runtime.sources import Analyses, analyses_of
    from affectlens.runtime.stream import Stream, VideoSettings
    from affectlens.runtime.temporal import Smoothing
    from affectlens.training.recipe import Recipe
    from affectlens.workflows.audit import audit
    from affectlens.workflows.compare import compare
    from affectlens.workflows.data import load_data
    from affectlens.workflows.evaluate import evaluate
    from affectlens.workflows.explain import explain
    from affectlens.workflows.figures import plot
    from affectlens.workflows.finetune import finetune
    from affectlens.workflows.progress import LoggingProgress, NotebookProgress
    from affectlens.workflows.reports import Report
    from affectlens.workflows.reproduce import reproduce
    from affectlens.workflows.summarise import summarise
    from affectlens.workflows.temporal import TemporalRun, load_temporal_head, train_temporal
    from affectlens.workflows.train import Run, train

__all__ = [
    "AffectLensError",
    "Analyses",
    "Analysis",
    "Analyzer",
    "BadData",
    "BadModelFile",
    "BadSetting",
    "BatchAnalyzer",
    "Client",
    "Column",
    "Detections",
    "EventKind",
    "Explanation",
    "Face",
    "FaceTable",
    "Kind",
    "LoggingProgress",
    "Measure",
    "MissingExtra",
    "NotebookProgress",
    "Progress",
    "Quality",
    "Reason",
    "Recipe",
    "Report",
    "Run",
    "ServiceError",
    "Smoothing",
    "Stream",
    "StreamEvent",
    "TemporalRun",
    "UnknownName",
    "UnreadableMedia",
    "VideoSettings",
    "View",
    "analyses_of",
    "audit",
    "compare",
    "corrupt",
    "environment",
    "evaluate",
    "explain",
    "finetune",
    "load_data",
    "load_temporal_head",
    "plot",
    "read_image",
    "read_table",
    "reproduce",
    "sample_frames",
    "summarise",
    "to_pandas",
    "train",
    "train_temporal",
]

_HOMES = {
    "AffectLensError": "core.errors",
    "Analyses": "runtime.sources",
    "Analysis": "runtime.analysis",
    "Analyzer": "runtime.analyzer",
    "BadData": "core.errors",
    "BadModelFile": "core.errors",
    "BadSetting": "core.errors",
    "BatchAnalyzer": "runtime.batches",
    "Client": "apps.server.client",
    "Column": "core.columns",
    "Detections": "core.detection",
    "EventKind": "core.series",
    "Explanation": "core.affect",
    "Face": "core.affect",
    "FaceTable": "data.table",
    "Kind": "core.columns",
    "LoggingProgress": "workflows.progress",
    "Measure": "core.measures",
    "MissingExtra": "core.errors",
    "NotebookProgress": "workflows.progress",
    "Progress": "core.progress",
    "Quality": "core.quality",
    "Reason": "core.reasons",
    "Recipe": "training.recipe",
    "Report": "workflows.reports",
    "Run": "workflows.train",
    "ServiceError": "core.errors",
    "Smoothing": "runtime.temporal",
    "Stream": "runtime.stream",
    "StreamEvent": "core.series",
    "TemporalRun": "workflows.temporal",
    "UnknownName": "core.errors",
    "UnreadableMedia": "core.errors",
    "VideoSettings": "runtime.stream",
    "View": "core.measures",
    "analyses_of": "runtime.sources",
    "audit": "workflows.audit",
    "compare": "workflows.compare",
    "corrupt": "evaluation.corruptions",
    "environment": "runtime.environment",
    "evaluate": "workflows.evaluate",
    "explain": "workflows.explain",
    "finetune": "workflows.finetune",
    "load_data": "workflows.data",
    "load_temporal_head": "workflows.temporal",
    "plot": "workflows.figures",
    "read_image": "runtime.media",
    "read_table": "runtime.frames",
    "reproduce": "workflows.reproduce",
    "sample_frames": "runtime.sample_frames",
    "summarise": "workflows.summarise",
    "to_pandas": "runtime.frames",
    "train": "workflows.train",
    "train_temporal": "workflows.temporal",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return metadata.version("affectlens")
    if name not in _HOMES:
        raise AttributeError(f"module 'affectlens' has no attribute '{name}'")
    return getattr(importlib.import_module(f"affectlens.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
