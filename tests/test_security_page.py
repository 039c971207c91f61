"""docs/security.md names tests and constants that exist."""

import importlib
import re
from pathlib import Path

import pytest

from affectlens.apps.server.limits import Limits

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(tests/[\w/.]+)`", PAGE))))
def test_every_promise_has_its_test(path):
    assert (ROOT / path).exists()


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([a-z_.]+)\.[A-Z_]+`", PAGE))))
def test_every_limit_is_where_the_page_says(name):
    module = importlib.import_module(f"affectlens.{'apps.server.' if name == 'serving' else ''}{name}")
    for constant in re.findall(rf"`{re.escape(name)}\.([A-Z_]+)`", PAGE):
        assert hasattr(module, constant)


def test_every_limit_of_the_service_exists_and_is_listed():
    listed = set(re.findall(r"`Limits\.(\w+)`", PAGE)) | set(re.findall(r"`([a-z_]+)`", PAGE))
    assert set(Limits.__dataclass_fields__) - {"workers", "waiting", "photo_s", "idle_s"} <= listed
