"""All errors that affectlens raises deliberately; messages say what happened, what was given, what was expected and how
to fix it.
"""


class AffectLensError(Exception):
    """Base class of all errors below; the command line prints it as one line and exits with 1."""


class BadSetting(AffectLensError):
    """A setting, option or argument has a value outside its range."""


class UnknownName(AffectLensError):
    """A name (model, loss, reader, detector, recipe, label) is not in its catalog."""


class BadModelFile(AffectLensError):
    """A model file is missing or damaged, lacks the metadata that the runtime needs, or cannot be used as requested."""


class BadAnswer(BadModelFile):
    """A model answered faces with something else than finite numbers for each; in rows, the reason is `failed`."""


class BadData(AffectLensError):
    """A data set or a table on disk does not have the layout or the labels that its reader expects."""


class UnreadableMedia(AffectLensError):
    """One source could not be decoded; `reason` is its code from `core.reasons`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


class MissingExtra(AffectLensError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(what, extra)
        self.what = what
        self.extra = extra

    def __str__(self) -> str:
        command = f"pip install 'affectlens[{self.extra}]' or, in a clone, '.[{self.extra}]'"
        return f"{self.what} needs the extra '{self.extra}': {command}"


class ServiceError(AffectLensError):
    """A service cannot be reached or refuses a request; `reason` is its code, "unreachable" if it did not respond."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.detail} ({self.reason})"


class NetworkRefused(AffectLensError):
    """Something tried to use the network in offline mode."""
