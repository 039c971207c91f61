import csv
import gzip
import subprocess
import sys

import pyarrow as pa
import pytest
from pyarrow import parquet

from affectlens.core.csv_lines import text_of
from affectlens.core.errors import BadData, BadSetting
from affectlens.evaluation.summary import Summary
from affectlens.evaluation.summary_report import summary_report, table_by

FACES = [
    # source, time_s, face, expression, uncertain, disagreement, valence, arousal, reason
    ("in/a.jpg", None, 0, "calm", False, 0.2, 0.4, -0.2, None),
    ("in/a.jpg", None, 1, "happy", True, 0.6, 0.8, 0.4, None),
    ("in/it's.mp4", 0.5, 0, "calm", False, 0.1, 0.0, 0.0, None),
    ("in/it's.mp4", 9.9, 0, "calm", False, 0.1, 0.2, -1.0, None),
    ("in/it's.mp4", 10.0, 0, "happy", False, 0.3, None, None, None),
    ("in/it's.mp4", 10.1, None, None, None, None, None, None, "no_face"),
    ("in/bad.jpg", None, None, None, None, None, None, None, "damaged"),
]
COLUMNS = ("source", "time_s", "face", "expression", "uncertain", "disagreement", "valence", "arousal", "reason")


@pytest.fixture
def shards(tmp_path):
    """A folder of two shards."""
    folder = tmp_path / "out's"
    folder.mkdir()
    for number, some in enumerate((FACES[:3], FACES[3:])):
        table = pa.Table.from_pylist([dict(zip(COLUMNS, face, strict=True)) for face in some])
        for label in ("calm", "happy"):
            table = table.append_column(f"p_{label}", pa.array([0.5] * len(table)))
        parquet.write_table(table, folder / f"part-{number:06d}.parquet")
    return folder


def test_everything_is_counted(shards):
    with Summary(shards) as found:
        assert found.labels == ("calm", "happy")
        assert found.overall() == {"rows": 7, "sources": 3, "faces": 5, "reasons": {"damaged": 1, "no_face": 1}}


@pytest.mark.parametrize("name", ["run[1]", "run*", "run?", "source=elsewhere", "expression=calm", "what=ever"])
def test_no_name_of_a_folder_means_anything(shards, name):
    (shards.parent / "run1").mkdir()
    for shard in shards.iterdir():
        (shards.parent / "run1" / shard.name).write_bytes(shard.read_bytes())
    with Summary(shards) as found:
        before = found.table(["source", "expression"])
    renamed = shards.rename(shards.parent / name)
    (renamed / "groups.csv").write_text("source,what\na.jpg,x\n")
    with Summary(renamed, renamed / "groups.csv") as found:
        assert found.table(["source", "expression"]) == before
        assert found.table(["what"])[-1]["what"] == "x"


def test_faces_of_an_expression(shards):
    with Summary(shards) as found:
        calm, happy = found.table(["expression"])
    assert list(calm) == [
        "expression", "faces", "share", "sources", "uncertain", "disagreement", "valence", "arousal", "mostly",
        "n_calm", "n_happy",
    ]  # fmt: skip
    assert (calm["expression"], calm["faces"], calm["share"], calm["sources"]) == ("calm", 3, 0.6, 2)
    assert (calm["n_calm"], calm["n_happy"], calm["mostly"], calm["uncertain"]) == (3, 0, "calm", 0)
    assert calm["disagreement"] == pytest.approx(0.4 / 3)
    assert (calm["valence"], calm["arousal"]) == (pytest.approx(0.2), pytest.approx(-0.4))
    assert (happy["uncertain"], happy["valence"], happy["arousal"]) == (0.5, 0.8, 0.4)


def test_sources_windows_and_both(shards):
    with Summary(shards, window_s=10) as found:
        assert [(row["source"], row["faces"], row["mostly"]) for row in found.table(["source"])] == [
            ("in/it's.mp4", 3, "calm"),
            ("in/a.jpg", 2, "calm"),
        ]
        windows = found.table(["window"])
        assert [(row["window_s"], row["faces"], row["share"]) for row in windows] == [
            (0.0, 2, pytest.approx(2 / 3)),
            (10.0, 1, pytest.approx(1 / 3)),
        ]
        assert (windows[1]["valence"], windows[1]["arousal"]) == (None, None)
        both = found.table(["source", "window"])
        assert [(row["source"], row["window_s"]) for row in both] == [("in/it's.mp4", 0.0), ("in/it's.mp4", 10.0)]
        assert found.count(["source", "window"]) == 2
        assert len(found.table(["source"], most=1)) == 1


def test_groups_by_source_or_name(shards, tmp_path):
    (tmp_path / "rooms.csv").write_text("source,room,my day\nin/a.jpg,kitchen,1\nit's.mp4,garden,2\n")
    with Summary(shards, tmp_path / "rooms.csv") as found:
        assert found.groups == ("room", "my day")
        assert found.overall()["ungrouped"] == {"sources": 1, "one": "in/bad.jpg"}
        assert [(row["room"], row["faces"]) for row in found.table(["room"])] == [("garden", 3), ("kitchen", 2)]
        assert [(row["my day"], row["expression"], row["faces"]) for row in found.table(["my day", "expression"])] == [
            ("2", "calm", 2),
            ("1", "calm", 1),
            ("1", "happy", 1),
            ("2", "happy", 1),
        ]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("name,room\na,b\n", "must have a column 'source' and columns to group by, got name, room"),
        ("source\na\n", "must have a column 'source' and columns to group by, got source"),
        ("source,face\na,b\n", "column 'face' in .* is also a column of the rows"),
        ("source,Expression\na,b\n", "column 'Expression' in .* is also a column of the rows"),
        ("source,room,window_S\na,b,c\n", "column 'window_S' in .* is also a column of the rows"),
        ("source,n_calm\na,b\n", "column 'n_calm' in .* is also a column of the rows"),
        ("source,room\na,b\na,c\n", "lists 'a' twice"),
        (
            "source,room\na,b\nc\n",
            "cannot read .*: CSV Error on Line: 3; Original Line: c; Expected Number of Columns: 2",
        ),
        ("source,room\na,b\nc,d,e\n", "cannot read .*: CSV Error on Line: 3"),
        ("source,room,Room\na,b,c\n", "has the column 'Room' twice"),
        ("source,room,\na,b,\n", "has a column without a name"),
        ("", "must have a column 'source' and columns to group by, got $"),
    ],
)
def test_files_of_groups_that_cannot_be_used(shards, tmp_path, content, why):
    (tmp_path / "groups.csv").write_text(content)
    with pytest.raises(BadData, match=why):
        Summary(shards, tmp_path / "groups.csv")


@pytest.mark.parametrize("before", [0, 10_000])
def test_a_file_of_groups_in_another_encoding_is_told(shards, tmp_path, before):
    (tmp_path / "groups.csv").write_bytes(b"source,room\n" + b"x" * before + b",caf\xe9\n")
    with pytest.raises(BadData, match=r"is not encoded in UTF-8|not utf-8 encoded"):
        Summary(shards, tmp_path / "groups.csv")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_files_of_groups_from_spreadsheets(shards, tmp_path, separator):
    lines = ["source,room,floor", "a.jpg,kitchen,1", ",garden,", ",,", "", 'it\'s.mp4,"the\nhall",2']
    text = "\r\n".join(lines).replace(",", separator)
    (tmp_path / "groups.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    with Summary(shards, tmp_path / "groups.csv") as found:
        assert [(row["room"], row["faces"]) for row in found.table(["room"])] == [("the\nhall", 3), ("kitchen", 2)]


def test_a_name_with_a_number_sign_is_a_name(tmp_path):
    rows = [dict(zip(COLUMNS, (name, *FACES[0][1:]), strict=True)) for name in ("in/b#2.jpg", "x.tar#in/c.jpg")]
    table = pa.Table.from_pylist(rows).append_column("p_faces", pa.array([0.5] * 2))
    parquet.write_table(table, tmp_path / "faces.parquet")
    (tmp_path / "rooms.csv").write_text("source,room\nb#2.jpg,hall\nc.jpg,yard\n")
    with Summary(tmp_path / "faces.parquet", tmp_path / "rooms.csv") as found:
        rows = found.table(["room"])
    assert [(row["room"], row["faces"], row["n_faces"]) for row in rows] == [("hall", 1, 0), ("yard", 1, 0)]


def test_the_csv_holds_the_whole_table(shards, tmp_path):
    file = tmp_path / "it's.csv"
    with Summary(shards) as found:
        found.write_csv(["source"], file)
        wanted = found.table(["source"])
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [list(row) for row in rows] == [list(row) for row in wanted]
    assert [(row["source"], int(row["faces"])) for row in rows] == [("in/it's.mp4", 3), ("in/a.jpg", 2)]


def test_a_csv_that_cannot_be_computed_leaves_the_one_before(shards, tmp_path):
    file = tmp_path / "all.csv"
    file.write_text("before")
    with Summary(shards) as found, pytest.raises(BadSetting, match="by must be one of"):
        found.write_csv(["colour"], file)
    assert file.read_text() == "before"
    assert not list(tmp_path.glob("*.partial"))


def test_a_csv_is_packed_where_its_name_says_so(shards, tmp_path):
    with Summary(shards) as found:
        found.write_csv(["source"], tmp_path / "all.csv.gz")
    assert gzip.decompress((tmp_path / "all.csv.gz").read_bytes()).startswith(b"source,")


def test_the_plane_is_counted_in_cells(shards):
    with Summary(shards) as found:
        cells = {(round(x, 2), round(y, 2)): faces for x, y, faces in found.plane()}
    assert cells == {(0.45, -0.15): 1, (0.85, 0.45): 1, (0.05, 0.05): 1, (0.25, -0.95): 1}


def test_what_cannot_be_summed_up_is_one_line(shards, tmp_path):
    with (
        Summary(shards) as found,
        pytest.raises(BadSetting, match="by must be one of expression, source, window, got 'colour'"),
    ):
        found.table(["colour"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadData, match=r"is neither a Parquet file of rows nor a batch folder"):
        Summary(tmp_path / "empty")
    for window_s in (0, float("nan"), float("inf")):
        with pytest.raises(BadSetting, match="must be a finite number of seconds > 0"):
            Summary(shards, window_s=window_s)
    parquet.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(BadData, match="is not a table of 'affectlens analyze': it lacks source, time_s"):
        Summary(tmp_path / "other.parquet")
    with pytest.raises(BadData, match=r"lost.parquet' does not exist"):
        Summary(tmp_path / "lost.parquet")
    (tmp_path / "text.parquet").write_text("text")
    with pytest.raises(BadData, match=r"text.parquet' is neither a Parquet file"):
        Summary(tmp_path / "text.parquet")
    (tmp_path / "text.parquet").write_text("PAR1text")
    with pytest.raises(BadData, match="cannot summarise the rows: "):
        Summary(tmp_path / "text.parquet")


def test_the_page_shows_every_part(shards, tmp_path):
    (tmp_path / "rooms.csv").write_text("source,room\nit's.mp4,<b>\n")
    with Summary(shards, tmp_path / "rooms.csv", window_s=10) as found:
        keys = ("expression", "window", "room", "source")
        tables = {key: found.table([key]) for key in keys}
        totals = {key: found.count([key]) for key in keys}
        page = summary_report({}, found.labels, tables, totals, found.plane(), 10, found.means)
    for heading in ("Expressions", "Valence and arousal", "Over time", "By room", "By source"):
        assert f">{heading}</h2>" in page
    assert page.count("<img") == 5
    assert "&lt;b&gt;" in page
    assert "<b>" not in page


def test_means_of_an_installed_measure_are_stated(shards, made_up_measure):
    for number, file in enumerate(sorted(shards.iterdir())):
        table = parquet.read_table(file)
        parquet.write_table(table.append_column("gloss", pa.array([0.25 + number / 2] * len(table))), file)
    with Summary(shards) as found:
        assert [column.name for column in found.means] == ["disagreement", "valence", "arousal", "gloss"]
        rows = found.table(["source"])
        shown = table_by(["source"], rows, found.means)
    assert {row["source"]: row["gloss"] for row in rows} == {"in/a.jpg": 0.25, "in/it's.mp4": pytest.approx(7 / 12)}
    assert [row[-1] for row in shown.rows] == ["0.583", "0.250"]


def test_windows_without_a_face_are_gaps_of_the_page(shards):
    with Summary(shards, window_s=2) as found:
        tables = {key: found.table([key]) for key in ("expression", "window")}
        totals = {"expression": 2, "window": 5000}
        asked = table_by(["expression", "source"], found.table(["expression", "source"]), found.means, 3)
        page = summary_report({}, found.labels, tables, totals, [], 2, found.means, asked)
    assert [row["window_s"] for row in tables["window"]] == [0, 8, 10]
    assert "Windows of 2 s, the first 3 of 5,000." in page
    assert page.index("Requested table") < page.index(">Expressions</h2>")
    assert asked.header[:3] == ["expression", "source", "faces"]
    assert "mostly" not in asked.header


def test_only_the_shards_that_are_named_count(shards):
    with Summary(shards, shards=[shards / "part-000001.parquet"]) as found:
        assert found.overall()["rows"] == 4


def test_a_lost_file_of_groups_is_told(tmp_path, shards):
    with pytest.raises(BadData, match=r"the groups file '.*lost.csv' does not exist"):
        Summary(shards, tmp_path / "lost.csv")


MANY = r"""
import re, sys
from pathlib import Path
import duckdb
from affectlens.evaluation.summary import Summary

folder, rows = Path(sys.argv[1]), int(sys.argv[2])
folder.mkdir()
base = duckdb.connect(config={"memory_limit": "256MB"})
base.execute("set enable_progress_bar = false")  # which a process without a file has
for shard in range(5):
    base.execute(f'''copy (
        select 'videos/' || (i // 100)::varchar || '.mp4' as source, (i % 100) / 25.0 as time_s, 0::bigint as face,
            ['calm', 'happy'][1 + i % 2] as expression, i % 10 = 0 as uncertain, random() as disagreement,
            (i % 20) / 10.0 - 0.95 as valence, random() as arousal, null::varchar as reason, random() as p_calm,
            random() as p_happy
        from range({shard * rows // 5}, {(shard + 1) * rows // 5}) numbers(i)
    ) to '{folder}/part-{shard}.parquet' ''')
base.close()
with Summary(folder, window_s=1, memory_mb=256) as found:
    print(found.overall()["rows"], found.count(["source"]), len({x for x, _, _ in found.plane()}))
    print([row["faces"] for row in found.table(["expression"])], [row["faces"] for row in found.table(["window"])])
    found.write_csv(["source", "window"], folder / "all.csv")
# not ru_maxrss, which begins with the parent's
print(int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""


@pytest.mark.slow
def test_ten_million_rows_in_constant_memory(tmp_path):
    folder = tmp_path / "many"
    command = [sys.executable, "-c", MANY, folder, "10000000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    counted, tables, megabytes = done.stdout.splitlines()
    assert counted == "10000000 100000 20"
    assert tables == "[5000000, 5000000] [2500000, 2500000, 2500000, 2500000]"
    with (folder / "all.csv").open() as stream:
        assert sum(1 for _ in stream) == 400_001
    assert sum(file.stat().st_size for file in folder.glob("*.parquet")) > 250e6  # on the disk; 900 MB in memory
    assert int(megabytes) < 450


@pytest.fixture
def hostile(tmp_path):
    """A table of faces whose sources and labels are written for spreadsheets."""
    names = ("=1+1.jpg", "'=1.jpg", "a\rb.jpg", "a;=1;.jpg", "plain.jpg")
    rows = [dict(zip(COLUMNS, (name, None, 0, "@x", False, 0.1, -0.5, -0.5, None), strict=True)) for name in names]
    table = pa.Table.from_pylist(rows).append_column("p_@x", pa.array([1.0] * len(names)))
    table = table.append_column("p_b", pa.array([0.0] * len(names)))
    parquet.write_table(table, tmp_path / "faces.parquet")
    return tmp_path / "faces.parquet", names


def test_nothing_in_the_csv_is_a_formula_unless_raw(hostile, tmp_path):
    table, names = hostile
    (tmp_path / "groups.csv").write_text("source,=room\nplain.jpg,+1\n")
    for raw in (False, True):
        with Summary(table, tmp_path / "groups.csv") as found:
            found.write_csv(["source", "expression", "=room"], tmp_path / "a.csv", raw)
        with (tmp_path / "a.csv").open(newline="") as stream:
            header, *rows = csv.reader(stream)
        shown = {row[0]: row[1:3] for row in rows}
        if raw:
            assert set(shown) == set(names)
            assert (header[2], shown["plain.jpg"]) == ("=room", ["@x", "+1"])
        else:
            assert {text_of(name) for name in shown} == set(names)
            assert {"'=1+1.jpg", "''=1.jpg"} < set(shown)
            assert (header[2], shown["plain.jpg"]) == ("'=room", ["'@x", "'+1"])
        assert {row[header.index("valence")] for row in rows} == {"-0.5"}
    assert '"a\rb.jpg"' in (tmp_path / "a.csv").read_bytes().decode()


def test_groups_may_name_sources_as_tables_do(hostile, tmp_path):
    (tmp_path / "groups.csv").write_text("source,room\n'=1+1.jpg,hall\n''=1.jpg,yard\nplain.jpg,\n")
    with Summary(hostile[0], tmp_path / "groups.csv") as found:
        rooms = {row["room"]: row["faces"] for row in found.table(["room"])}
        assert (rooms["hall"], rooms["yard"], found.overall()["ungrouped"]["sources"]) == (1, 1, 2)
