import ast
import graphlib
import importlib
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import grimp
import pytest

import affectlens

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "pandas", "pillow_heif", "requests", "urllib3", "http.client", "ssl")


def test_no_module_imports_itself_by_way_of_others():
    graph = grimp.build_graph("affectlens", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    graphlib.TopologicalSorter(imports).prepare()  # raises CycleError; imports for types and in functions count too


def test_public_names_are_sorted_and_unique():
    assert affectlens.__all__ == sorted(set(affectlens.__all__))


@pytest.mark.parametrize("name", affectlens.__all__)
def test_each_public_name_can_be_imported(name):
    assert getattr(affectlens, name).__name__ == name


def test_what_people_name_in_their_code_is_public():
    errors = {"AffectLensError", "BadModelFile", "BadSetting", "MissingExtra", "UnknownName"}
    assert {"Analysis", "Analyzer", "Face", "Reason"} | errors <= set(affectlens.__all__)


def test_the_version_is_that_of_the_installed_package():
    assert affectlens.__version__ == metadata.version("affectlens")


def test_dir_lists_exactly_the_public_names():
    assert dir(affectlens) == affectlens.__all__


def test_star_import_gives_the_public_names():
    names = {}
    exec("from affectlens import *", names)
    assert set(affectlens.__all__) <= set(names)


def test_unknown_attribute_is_an_attribute_error_that_names_it():
    with pytest.raises(AttributeError, match="Analyser"):
        _ = affectlens.Analyser


def test_unknown_attribute_does_not_hide_submodules():
    assert importlib.import_module("affectlens.core.errors").AffectLensError is affectlens.AffectLensError


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_import_loads_no_numeric_library_at_all():
    assert (
        run("import sys, affectlens; print(*(m for m in ('numpy', 'cv2', 'PIL', 'onnxruntime') if m in sys.modules))")
        == []
    )


def test_the_analyzer_is_imported_without_pillow():
    assert run("import sys, affectlens; affectlens.Analyzer; print(*(m for m in sys.modules if m[:3] == 'PIL'))") == []


def test_explaining_a_photo_loads_no_torch(tmp_path):
    code = f"""
import sys
from affectlens.apps.cli.main import main
from affectlens.runtime.media import PORTRAIT
sys.argv = ["affectlens", "explain", str(PORTRAIT), "--out", {str(tmp_path / "heat.png")!r}]
try:
    main()
except SystemExit as done:
    assert done.code == 0
print("torch" in sys.modules)
"""
    assert run(code)[-1] == "False"
    assert (tmp_path / "heat.png").stat().st_size > 10_000


def test_analyzing_a_photo_loads_neither_torch_nor_a_network_stack():
    code = f"""
import sys, affectlens, affectlens.runtime.analyzer
from affectlens.runtime.media import PORTRAIT
assert len(affectlens.Analyzer().analyze(PORTRAIT).faces) == 1
print(*(module for module in {HEAVY} if module in sys.modules))
"""
    assert run(code) == []


def test_the_reference_shows_what_is_public_and_nothing_else():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    shown = re.findall(r"^::: affectlens\.(\S+)$", page, re.MULTILINE)
    assert sorted(name.rpartition(".")[2] for name in shown) == affectlens.__all__
    for name in shown:
        module, _, attribute = name.rpartition(".")
        assert getattr(importlib.import_module(f"affectlens.{module}"), attribute) is getattr(affectlens, attribute)


FOR_CONTRIBUTORS = {"add_a_model.md"}
"""Pages about files inside the package."""
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
CODE = [
    *(
        pytest.param(block, id=f"{page.name}-{number}")
        for page in PAGES
        if page.name not in FOR_CONTRIBUTORS
        for number, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL))
    ),
    *(pytest.param(file.read_text(encoding="utf-8"), id=file.name) for file in sorted(ROOT.glob("benchmarks/*.py"))),
]


@pytest.mark.parametrize("code", CODE)
def test_code_for_others_and_benchmarks_import_only_public_names(code):
    """scripts/check says so of the modules that benchmarks import; this looks at names too."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            assert not [alias.name for alias in node.names if alias.name.startswith("affectlens.")]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "affectlens":
            assert node.module == "affectlens"
            assert {alias.name for alias in node.names} <= {*affectlens.__all__, "__version__"}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "affectlens":
            assert node.attr in {*affectlens.__all__, "__version__"}


DELETES = {
    "apps/batch/manifest.py: _drop_reserve",
    "apps/batch/manifest.py: keep_room",
    "apps/batch/on_ray.py: _parts",
    "apps/batch/on_ray.py: analyze_on_ray",
    "apps/batch/shards.py: __init__",
    "apps/batch/shards.py: _commit",
    "apps/batch/shards.py: close",
    "apps/batch/shards.py: discard",
    "core/files.py: partial",
    "core/files.py: remove_own",
    "data/prepare.py: _move",
    "data/prepare.py: _remove",
    "runtime/annotate.py: failed",
    "training/run.py: adopt",
    "training/run.py: locked",
    "training/run.py: open_run",
}
"""Functions that delete files. Each deletes only names that affectlens has made, and never follows a link."""


def test_files_are_deleted_only_where_that_has_been_considered():
    found = set()
    for file in (ROOT / "src/affectlens").rglob("*.py"):
        for function in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef):
                calls = {ast.unparse(node.func) for node in ast.walk(function) if isinstance(node, ast.Call)}
                if any(re.search(r"\b(unlink|rmtree|rmdir|removedirs)$|^os\.remove$", call) for call in calls):
                    found.add(f"{file.relative_to(ROOT / 'src/affectlens')}: {function.name}")
    assert found == DELETES
