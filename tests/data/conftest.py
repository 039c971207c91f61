import cv2
import numpy as np
import pytest

from affectlens.data.source import parse

FOLDERS = {"train": "FER2013Train", "valid": "FER2013Valid", "test": "FER2013Test"}


@pytest.fixture
def ferplus(tmp_path):
    """A writer of the official FER+ layout: one image and one line of label.csv per row of ten votes."""

    def write(rows, split="train"):
        folder = tmp_path / FOLDERS[split]
        folder.mkdir()
        generator = np.random.default_rng(list(FOLDERS).index(split))
        lines = []
        for number, votes in enumerate(rows):
            name = f"fer{number:07d}.png"
            cv2.imwrite(str(folder / name), generator.integers(0, 256, (48, 48), dtype=np.uint8))
            lines.append(f'{name},"(0, 0, 48, 48)",{",".join(str(vote) for vote in votes)}\n')
        (folder / "label.csv").write_text("".join(lines))
        return tmp_path

    return write


@pytest.fixture
def class_folders(tmp_path):
    """A writer of a training folder with one image per class, named after the class."""

    def write(*classes, name="folders"):
        for label in classes:
            folder = tmp_path / name / "train" / label
            folder.mkdir(parents=True)
            cv2.imwrite(str(folder / f"{label}.png"), np.full((48, 48), 9, dtype=np.uint8))
        return tmp_path / name

    return write


@pytest.fixture
def with_meta(ferplus, tmp_path):
    """Three happy faces and a meta file of these lines."""

    def write(*lines):
        (tmp_path / "meta.csv").write_text("".join(f"{line}\n" for line in lines))
        return parse(f"ferplus:{ferplus([(0, 10, *[0] * 8)] * 3)}?meta={tmp_path / 'meta.csv'}")

    return write
