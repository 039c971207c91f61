"""Checksums of stored weights: those in the archives that torch writes and does not read, and that of exported models,
which is the last entry of their metadata.
"""

import hashlib
import os
import zipfile
from pathlib import Path

from affectlens.core.errors import BadModelFile
from affectlens.core.files import open_regular

_KEY = b"affectlens_sha256"
_ENTRY = b"\x0a" + bytes([len(_KEY)]) + _KEY + b"\x12\x40"  # of protobuf: a key and 64 characters
_HEAD = b"\x72" + bytes([len(_ENTRY) + 64]) + _ENTRY  # `ModelProto.metadata_props`
_SIZE = len(_HEAD) + 64


def check_archive(file: Path) -> None:
    """Check the weights that torch or NumPy wrote to a file; files of torch before 1.6 have no checksums.

    Raises:
        BadModelFile: a part of the file has changed since. OSError: it is missing, unreadable or not a regular file.
    """
    with open_regular(file) as stream:
        if not zipfile.is_zipfile(stream):
            return
        try:
            with zipfile.ZipFile(stream) as archive:
                damaged = archive.testzip()
        except Exception as error:  # zipfile raises many types for headers that do not fit
            raise BadModelFile(f"'{file}' is damaged: {error}") from error
    if damaged is not None:
        raise BadModelFile(f"'{file}' is damaged: the checksum of its part '{damaged}' is wrong")


def with_checksum(model: bytes) -> bytes:
    """A serialised ONNX model with the SHA-256 of all of it at its end."""
    return model + _HEAD + hashlib.sha256(model).hexdigest().encode()


def check_model(file: Path) -> None:
    """Check an ONNX model that has a checksum.

    Raises:
        BadModelFile: the file has changed since it was written. OSError: it cannot be read.
    """
    with file.open("rb") as stream:
        length = max(stream.seek(0, os.SEEK_END) - _SIZE, 0)
        stream.seek(length)
        end = stream.read()
        if not end.startswith(_HEAD):
            return
        stream.seek(0)
        if hashlib.sha256(stream.read(length)).hexdigest().encode() != end.removeprefix(_HEAD):
            raise BadModelFile(
                f"'{file}' is damaged, or was changed after its export: its checksum is wrong; if it was meant to be, "
                f"remove '{_KEY.decode()}' from its metadata"
            )
