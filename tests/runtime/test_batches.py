"""The engine in the pipelines of others, as docs/batch.md shows them."""

import pickle
import shutil
import subprocess
import sys
import textwrap

import datasets
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from affectlens import BatchAnalyzer
from affectlens.core.errors import BadSetting
from affectlens.runtime.media import PORTRAIT


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
    with pytest.raises(BadSetting, match="the batch has no column 'image'; it has a, b"):
        BatchAnalyzer()({"a": [], "b": []})


def test_it_can_be_pickled_after_its_first_batch(pictures, wanted):
    analyze = BatchAnalyzer("path", prior="natural")
    analyze({"path": []})
    again = pickle.loads(pickle.dumps(analyze))
    assert again({"path": [str(file) for file in pictures]}).to_pylist() == wanted


def test_in_ray_data(pictures, wanted):
    found = subprocess.run(
        [sys.executable, "-c", RAY, *map(str, pictures)], capture_output=True, text=True, timeout=300, check=False
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-3:] == [
        f"{number} {row['expression']} {row['reason']}" for number, row in enumerate(wanted)
    ]


RAY = """
import logging, os, sys
import ray
from affectlens import BatchAnalyzer

ray.init(num_cpus=2, include_dashboard=False, logging_level=logging.ERROR)
photos = ray.data.from_items([{"id": number, "path": path} for number, path in enumerate(sys.argv[1:])])
faces = photos.map_batches(
    BatchAnalyzer,
    fn_constructor_kwargs={"column": "path", "keep": ["id"]},
    compute=ray.data.ActorPoolStrategy(size=1),
    batch_size=2,
)
for row in sorted(faces.take_all(), key=lambda row: row["id"]):
    print(row["id"], row["expression"], row["reason"])
"""


def test_in_hugging_face_datasets(pictures, wanted, tmp_path):
    photos = datasets.Dataset.from_dict({"image": [str(file) for file in pictures], "id": [1, 2, 3]})
    photos = photos.cast_column("image", datasets.Image(decode=False))
    faces = photos.map(BatchAnalyzer(keep=["id"]), batched=True, batch_size=2, remove_columns=photos.column_names)
    assert without_source(faces.remove_columns("id").to_list()) == without_source(wanted)
    assert list(faces["id"]) == [1, 2, 3]


def test_in_spark(pictures, wanted):
    if shutil.which("java") is None:
        pytest.skip("Spark needs a Java runtime, and there is none")
    found = subprocess.run(
        [sys.executable, "-c", SPARK, *map(str, pictures)], capture_output=True, text=True, timeout=300, check=False
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-3:] == [f"{row['expression']} {row['reason']}" for row in wanted]


SPARK = textwrap.dedent("""
    import sys
    from pyspark.sql import SparkSession
    from pyspark.sql.pandas.types import from_arrow_schema
    from affectlens import BatchAnalyzer

    analyze = BatchAnalyzer("path")

    def faces(frames):
        for frame in frames:
            yield analyze(frame).to_pandas()

    spark = SparkSession.builder.master("local[1]").getOrCreate()
    photos = spark.createDataFrame([(path,) for path in sys.argv[1:]], "path string")
    for row in photos.mapInPandas(faces, from_arrow_schema(analyze.schema)).collect():
        print(row.expression, row.reason)
""")
