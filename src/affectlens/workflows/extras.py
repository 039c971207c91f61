"""Optional dependencies of workflows."""

import importlib.util

from affectlens.core.errors import MissingExtra

_OF_TRAINING = ("lightning", "matplotlib", "onnx", "onnxscript", "torch", "yaml")


def require_training(what: str) -> None:
    """Raises MissingExtra, in the name of `what`, unless everything that training needs is installed."""
    if not all(importlib.util.find_spec(name) for name in _OF_TRAINING):
        raise MissingExtra(what, "train")
