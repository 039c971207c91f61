"""Data sets by name: `ferplus:DIR` -> the reader `ferplus` on the folder DIR."""

import os
from dataclasses import dataclass
from pathlib import Path

from affectlens.core import catalog
from affectlens.core.errors import BadData, BadSetting
from affectlens.data import table
from affectlens.data.table import FaceTable

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class DataSource:
    """A data set on disk: the name of its reader and its folder."""

    reader: str
    directory: Path

    @property
    def licence(self) -> str:
        """What the reader says about models trained on these data."""
        text: str = catalog.load("data.readers", self.reader).LICENCE
        return text

    def load(self, split: str) -> FaceTable:
        """All faces of a split in memory.

        Raises:
            BadSetting: `split` is not one of `SPLITS`.
            BadData: the folder does not have the reader's layout.
        """
        if split not in SPLITS:
            raise BadSetting(f"split must be one of {', '.join(SPLITS)}, got '{split}'")
        module = catalog.load("data.readers", self.reader)
        return table.load(module.read(self.directory, split), module.LABELS)


def parse(spec: str) -> DataSource:
    """`name:DIR` -> DataSource.

    Raises:
        BadSetting: there is no colon. UnknownName: no such reader. BadData: the folder does not exist.
    """
    name, colon, folder = spec.partition(":")
    if not colon or not folder:
        raise BadSetting(f"a data set is named NAME:FOLDER (for example ferplus:~/data/ferplus), got '{spec}'")
    catalog.load("data.readers", name)
    directory = Path(os.path.expanduser(folder))
    if not directory.is_dir():
        raise BadData(f"data folder '{directory}' does not exist")
    return DataSource(name, directory)
