import cv2
import numpy as np
import pytest

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
