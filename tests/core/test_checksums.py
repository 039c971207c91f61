import io
import json

import numpy as np
import pytest
import torch

from affectlens.core.checksums import check_archive, check_model, with_checksum
from affectlens.core.errors import BadModelFile


def flipped(content, place, bit=3):
    changed = bytearray(content)
    changed[place] ^= 1 << bit
    return bytes(changed)


@pytest.fixture(params=["torch", "numpy"])
def archive(request):
    """The bytes of stored weights, and a function that loads them again."""
    weights, stream = torch.randn(400, generator=torch.Generator().manual_seed(1)), io.BytesIO()
    if request.param == "torch":
        torch.save({"weights": weights, "epoch": 3}, stream)
        return stream.getvalue(), lambda stored: torch.load(stored, weights_only=True)["weights"].tolist()
    np.savez(stream, weights=weights.numpy())
    return stream.getvalue(), lambda stored: np.load(stored)["weights"].tolist()


def test_no_flipped_byte_of_stored_weights_changes_them(archive, tmp_path):
    content, load = archive
    file = tmp_path / "last.ckpt"
    file.write_bytes(content)
    check_archive(file)
    whole, said = load(io.BytesIO(content)), []
    places = range(0, len(content), 7)
    for place in places:
        changed = flipped(content, place)
        file.write_bytes(changed)
        try:
            check_archive(file)
            found = load(io.BytesIO(changed))
        except BadModelFile as error:
            said.append(str(error))
        except Exception:  # without its own end it is no archive, and cannot be loaded
            continue
        else:
            assert found == whole
    assert len(said) > len(places) / 3
    assert all(line.startswith(f"'{file}' is damaged: ") and "\n" not in line for line in said)


def test_a_file_that_is_no_archive_has_no_checksum(tmp_path):
    torch.save({"a": torch.ones(3)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    check_archive(tmp_path / "old.pth")
    with pytest.raises(FileNotFoundError):
        check_archive(tmp_path / "none.pth")


def test_no_byte_of_a_model_with_a_checksum_can_change(tmp_path):
    file = tmp_path / "model.onnx"
    content = with_checksum(json.dumps(list(range(50))).encode())
    file.write_bytes(content)
    check_model(file)
    for place in range(len(content) - 64):
        file.write_bytes(flipped(content, place))
        if place < content.index(b"r\x55"):
            with pytest.raises(BadModelFile, match="is damaged, or was changed after its export"):
                check_model(file)
        else:
            check_model(file)  # the checksum cannot be found, and the model is whole
    for shorter in (b"", content[:20], content[:-1]):
        file.write_bytes(shorter)
        check_model(file)
