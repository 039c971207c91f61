"""Which tests `scripts/changed_tests` names, in a small repository with the layout of this one."""

import importlib.machinery
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "changed_tests"
EVERY_RECIPE = "tests/training/recipes/test_every_recipe.py"
CATALOG = "tests/core/test_catalog.py"
FILES = {
    "pyproject.toml": "",
    "README.md": "",
    "notes.txt": "",
    "src/affectlens/__init__.py": "if TYPE_CHECKING:\n    from affectlens.runtime.engine import Engine\n",
    "src/affectlens/core/__init__.py": "",
    "src/affectlens/core/catalog.py": "",
    "src/affectlens/core/errors.py": "",
    "src/affectlens/losses/__init__.py": "",
    "src/affectlens/faces/__init__.py": "",
    "src/affectlens/faces/measures/__init__.py": "",
    "src/affectlens/data/__init__.py": "",
    "src/affectlens/data/readers/__init__.py": "",
    "src/affectlens/models/__init__.py": "",
    "src/affectlens/models/plain.py": "",
    "src/affectlens/runtime/__init__.py": "",
    "src/affectlens/runtime/media.py": "from affectlens.core.errors import Wrong",
    "src/affectlens/runtime/engine.py": "def go():\n    from affectlens.runtime import media",
    "src/affectlens/apps/__init__.py": "",
    "src/affectlens/apps/server/__init__.py": "",
    "src/affectlens/apps/cli/__init__.py": "",
    "src/affectlens/apps/server/page/main.js": "",
    "tests/conftest.py": "from affectlens import Engine",
    CATALOG: "",
    "tests/core/test_errors.py": "",
    "tests/models/test_every_model.py": "",
    "tests/runtime/conftest.py": "",
    "tests/runtime/test_media.py": "",
    "tests/runtime/test_engine.py": "",
    "tests/apps/test_public.py": "from affectlens import Engine",
    "tests/apps/test_quiet.py": "from affectlens import core",
    "tests/apps/cli/test_main.py": "",
    "tests/apps/cli/test_pages.py": "",
    "tests/data/test_source.py": "",
    "tests/apps/server/test_page.py": "",
    EVERY_RECIPE: "",
}
ALL = sorted(name for name in FILES if "test_" in name)
RUNTIME = ["tests/apps/test_public.py", "tests/runtime/test_engine.py"]


def git(folder, *words):
    who = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("repository")
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    (folder / "scripts").mkdir()
    shutil.copy(SCRIPT, folder / "scripts")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder


@pytest.fixture
def repository(original, tmp_path):
    return shutil.copytree(original, tmp_path / "repository")


def named(folder, *words):
    done = subprocess.run(
        [sys.executable, folder / "scripts" / "changed_tests", *words], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ("src/affectlens/core/errors.py", ["tests/core/test_errors.py", *RUNTIME, "tests/runtime/test_media.py"]),
        ("src/affectlens/runtime/media.py", [*RUNTIME, "tests/runtime/test_media.py"]),
        ("src/affectlens/runtime/engine.py", RUNTIME),
        ("src/affectlens/core/__init__.py", ["tests/apps/test_quiet.py"]),
        ("src/affectlens/models/new.py", ["tests/models/test_every_model.py", EVERY_RECIPE, CATALOG]),
        ("src/affectlens/losses/new.py", [EVERY_RECIPE, CATALOG]),
        ("src/affectlens/faces/measures/new.py", [CATALOG]),
        ("src/affectlens/data/readers/new.py", ["tests/data/test_source.py", CATALOG]),
        ("src/affectlens/apps/cli/new.py", ["tests/apps/cli/test_main.py", "tests/apps/cli/test_pages.py"]),
        ("src/affectlens/apps/server/page/main.js", ["tests/apps/server/test_page.py"]),
        ("tests/runtime/test_engine.py", ["tests/runtime/test_engine.py"]),
        ("tests/core/test_new.py", ["tests/core/test_new.py"]),
        ("tests/runtime/conftest.py", ["tests/runtime/test_engine.py", "tests/runtime/test_media.py"]),
        ("README.md", ["tests/apps/cli/test_pages.py"]),
        ("notes.txt", []),
        ("pyproject.toml", ALL),
        ("tests/conftest.py", ALL),
    ],
)
def test_tests_are_named_by_what_they_can_see(repository, changed, expected):
    with (repository / changed).open("a") as file:
        file.write("\n# changed\n")
    assert named(repository) == sorted(expected)


def test_nothing_is_named_where_nothing_has_changed(repository):
    assert named(repository) == []


def test_changes_may_be_those_since_another_commit_and_files_may_be_gone(repository):
    (repository / "src/affectlens/runtime/engine.py").unlink()
    git(repository, "commit", "-q", "-a", "-m", "second")
    (repository / "README.md").write_text("new")
    assert named(repository) == ["tests/apps/cli/test_pages.py"]
    assert named(repository, "HEAD~1") == sorted(
        ["tests/apps/cli/test_pages.py", "tests/apps/test_public.py", "tests/runtime/test_engine.py"]
    )


def test_a_commit_that_there_is_not_is_said_to_be_none(repository):
    command = [sys.executable, repository / "scripts" / "changed_tests", "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "nowhere" in done.stderr


@pytest.mark.parametrize("file", ["src/affectlens/core/errors.py", "tests/core/test_errors.py"])
def test_a_syntax_error_is_one_line_that_names_the_file(repository, file):
    (repository / file).write_text("def (")
    command = [sys.executable, repository / "scripts" / "changed_tests"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Syntax error in {repository / file}, line 1: ")
    assert len(done.stderr.splitlines()) == 1


def test_what_stands_for_files_that_are_no_modules_is_there():
    loader = importlib.machinery.SourceFileLoader("changed_tests", str(SCRIPT))
    script = importlib.util.module_from_spec(importlib.util.spec_from_loader("changed_tests", loader))
    loader.exec_module(script)
    for start, patterns in script.SEEN_BY.items():
        assert (ROOT / start).exists()
        assert all(any(ROOT.glob(pattern)) for pattern in patterns)
    assert all((ROOT / name).is_file() for name in script.ALL)
