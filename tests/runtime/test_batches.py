"""The engine in the pipelines of others, as docs/batch.md shows them."""

import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from affectlens import BatchAnalyzer
from affectlens.core.errors import BadSetting
from affectlens.runtime.media import PORTRAIT

PAGE = Path(__file__).parents[2] / "docs" / "batch.md"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, portrait):
    """Files: one face, none, and one that is cut off."""
    folder = tmp_path_factory.mktemp("pictures")
    content = PORTRAIT.read_bytes()
    (folder / "face.jpg").write_bytes(content)
    (folder / "cut.jpg").write_bytes(content[:3000])
    Image.new("RGB", (64, 64)).save(folder / "none.png")
    return [folder / "face.jpg", folder / "none.png", folder / "cut.jpg"]


@pytest.fixture(scope="module")
def wanted(pictures, analyzer):
    return [row for file in pictures for row in analyzer.analyze(file).to_rows()]


def without_source(rows):
    return [{key: value for key, value in row.items() if key != "source"} for row in rows]


def test_columns_of_any_kind_give_the_rows_of_analyze(pictures, wanted, portrait):
    paths = [str(file) for file in pictures]
    contents = [file.read_bytes() for file in pictures]
    analyze = BatchAnalyzer("photo")
    for batch in ({"photo": paths}, pa.table({"photo": paths}), pd.DataFrame({"photo": paths})):
        assert analyze(batch).to_pylist() == wanted
    structures = [{"bytes": content, "path": None} for content in contents[:2]] + [{"bytes": None, "path": paths[2]}]
    for cells in (contents, structures, [bytearray(content) for content in contents]):
        assert without_source(analyze({"photo": cells}).to_pylist()) == without_source(wanted)
    assert without_source(analyze({"photo": [portrait]}).to_pylist()) == without_source(wanted[:1])


def test_names_and_other_columns_stay_with_their_rows(portrait):
    twice = portrait.repeat(1, axis=0)
    batch = {"image": [twice, twice[:40]], "id": [7, 8], "title": ["both", "none"]}
    table = BatchAnalyzer(name="title", keep=["id"])(batch)
    assert table["source"].to_pylist() == ["both", "none"]
    assert table["id"].to_pylist() == [7, 8]
    assert table.schema.names[:-1] == BatchAnalyzer().schema.names


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(BadSetting, match="the batch has no column 'image'; its columns are a, b"):
        BatchAnalyzer()({"a": [], "b": []})


def test_it_can_be_pickled_after_its_first_batch(pictures, wanted):
    analyze = BatchAnalyzer("path", prior="natural")
    analyze({"path": []})
    again = pickle.loads(pickle.dumps(analyze))
    assert again({"path": [str(file) for file in pictures]}).to_pylist() == wanted


def test_an_empty_cell_has_a_row_that_says_so(pictures):
    for batch in (
        {"image": [None, {"bytes": None, "path": None}]},
        pd.DataFrame({"image": [None, float("nan")]}),
        pa.table({"image": pa.array([None, None], pa.binary())}),
    ):
        assert BatchAnalyzer()(batch)["reason"].to_pylist() == ["empty_file"] * 2


def test_kept_columns_keep_their_type(pictures):
    content = pictures[0].read_bytes()
    for count in (0, 2):
        batch = pa.table({"image": pa.array([content] * count, pa.binary()), "id": pa.array([7] * count, pa.int32())})
        assert BatchAnalyzer(keep=["id"])(batch).schema.field("id").type == pa.int32()


def run_page(number, before, after, folder):
    """The lines that a process writes which runs the Python of docs/batch.md with these lines around it."""
    block = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[number]
    (folder / "page.py").write_text(before + block + after)
    done = subprocess.run(
        [sys.executable, "page.py"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=folder,
        env=os.environ | {"HF_HOME": str(folder / "cache"), "PYSPARK_PYTHON": sys.executable},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.no_cover
def test_in_ray_data(pictures, wanted, tmp_path):
    contents = [file.read_bytes() for file in pictures]
    parquet.write_table(pa.table({"id": [0, 1, 2], "image": contents}), tmp_path / "photos.parquet")
    before = "import logging, ray\nray.init(num_cpus=2, include_dashboard=False, logging_level=logging.ERROR)\n"
    after = (
        "for row in sorted(faces.take_all(), key=lambda row: row['id']):\n"
        "    print(row['id'], row['expression'], row['reason'])\n"
    )
    lines = run_page(0, before, after, tmp_path)
    assert lines[-3:] == [f"{number} {row['expression']} {row['reason']}" for number, row in enumerate(wanted)]


@pytest.mark.slow
@pytest.mark.no_cover
def test_in_hugging_face_datasets(pictures, wanted, tmp_path):
    (tmp_path / "photos").mkdir()
    for number, file in enumerate(pictures):
        shutil.copy(file, tmp_path / "photos" / f"{number}{file.suffix}")
    lines = run_page(1, "", "for row in faces:\n    print(row['expression'], row['reason'])\n", tmp_path)
    assert lines[-3:] == [f"{row['expression']} {row['reason']}" for row in wanted]


@pytest.mark.slow
@pytest.mark.no_cover
def test_in_spark(pictures, wanted, tmp_path):
    if shutil.which("java") is None:
        pytest.skip("Spark needs a Java runtime, and there is none")
    before = (
        "from pyspark.sql import SparkSession\n"
        "spark = SparkSession.builder.master('local[1]').getOrCreate()\n"
        f"paths = {[(str(file),) for file in pictures]!r}\n"
    )
    after = "for row in found.collect():\n    print(row.expression, row.reason)\n"
    assert run_page(2, before, after, tmp_path)[-3:] == [f"{row['expression']} {row['reason']}" for row in wanted]
