"""Every error that affectlens raises on purpose: what happened, what came, what was expected, how to mend it."""


class AffectLensError(Exception):
    """Base of all errors below; the command line prints it as one line and exits 1."""


class BadSetting(AffectLensError):
    """A setting, option or argument has a value outside its range."""


class UnknownName(AffectLensError):
    """A name (model, loss, reader, detector, recipe, label) is not in its catalogue."""


class BadModelFile(AffectLensError):
    """A model file is missing, damaged, lacks the metadata that the runtime needs, or cannot become what was asked."""


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
    """A service cannot be reached or refuses; `reason` is its code, "unreachable" where it said nothing."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.detail} ({self.reason})"


class NetworkRefused(AffectLensError):
    """Something tried to use the network in offline mode."""
