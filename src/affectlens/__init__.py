"""Facial expression and affect recognition; the public surface, loaded lazily so that the import is quick."""

import importlib
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from affectlens.apps.server.client import Client
    from affectlens.core.affect import Face
    from affectlens.core.columns import Column, Kind
    from affectlens.core.errors import (
        AffectLensError,
        BadData,
        BadModelFile,
        BadSetting,
        MissingExtra,
        ServiceError,
        UnknownName,
    )
    from affectlens.core.measures import Measure, View
    from affectlens.core.reasons import Reason
    from affectlens.core.series import EventKind, StreamEvent
    from affectlens.runtime.analysis import Analysis
    from affectlens.runtime.analyzer import Analyzer
    from affectlens.runtime.batches import BatchAnalyzer
    from affectlens.runtime.frames import read_table, to_pandas
    from affectlens.runtime.pipeline import VideoSettings
    from affectlens.runtime.sources import Analyses, analyses_of
    from affectlens.runtime.stream import Stream
    from affectlens.runtime.temporal import Smoothing

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
    "EventKind",
    "Face",
    "Kind",
    "Measure",
    "MissingExtra",
    "Reason",
    "ServiceError",
    "Smoothing",
    "Stream",
    "StreamEvent",
    "UnknownName",
    "VideoSettings",
    "View",
    "analyses_of",
    "read_table",
    "to_pandas",
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
    "EventKind": "core.series",
    "Face": "core.affect",
    "Kind": "core.columns",
    "Measure": "core.measures",
    "MissingExtra": "core.errors",
    "Reason": "core.reasons",
    "ServiceError": "core.errors",
    "Smoothing": "runtime.temporal",
    "Stream": "runtime.stream",
    "StreamEvent": "core.series",
    "UnknownName": "core.errors",
    "VideoSettings": "runtime.pipeline",
    "View": "core.measures",
    "analyses_of": "runtime.sources",
    "read_table": "runtime.frames",
    "to_pandas": "runtime.frames",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return metadata.version("affectlens")
    if name not in _HOMES:
        raise AttributeError(f"module 'affectlens' has no attribute '{name}'")
    return getattr(importlib.import_module(f"affectlens.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
