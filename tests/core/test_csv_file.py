import pytest

from affectlens.core.csv_file import csv_cells, csv_lines, csv_rows
from affectlens.core.errors import BadData

BAD = {
    "huge cell": (b'a,b\n"' + b"x" * 300_000 + b'",1\n', "field larger than field limit"),
    "huge line": (b"a,b\n" + b"x" * 2_000_000, "a line has more than 1,048,576 characters"),
    "no text": (b"a,b\n\xff\xfe\n", "codec can't decode byte 0xff"),
}


def write(folder, content):
    (folder / "a.csv").write_bytes(content)
    return folder / "a.csv"


def test_rows_are_read_by_their_columns_with_their_places(tmp_path):
    file = write(tmp_path, '\ufeffname,text\n\na,"two\nlines"\nb,c\n'.encode())
    assert list(csv_rows(file, ("name",))) == [
        (f"{file}, line 4", {"name": "a", "text": "two\nlines"}),
        (f"{file}, line 5", {"name": "b", "text": "c"}),
    ]
    assert list(csv_lines(write(tmp_path, b"a;b"), ";")) == [(1, ["a", "b"])]
    assert csv_cells('1,"2,3"', "here") == ["1", "2,3"]
    assert csv_cells("", "here") == []


@pytest.mark.parametrize(("content", "said"), BAD.values(), ids=BAD)
def test_what_is_no_csv_is_one_line(tmp_path, content, said):
    with pytest.raises(BadData, match=f"^cannot read '.*a.csv' as a text table: .*{said}") as error:
        list(csv_rows(write(tmp_path, content)))
    assert "\n" not in str(error.value)


def test_a_line_with_a_huge_cell_is_named():
    with pytest.raises(BadData, match=r"^here: field larger"):
        csv_cells("x" * 300_000, "here")


def test_a_row_of_other_cells_and_a_missing_column_are_named(tmp_path):
    with pytest.raises(BadData, match=r"a\.csv, line 3: expected 2 cells, one per column"):
        list(csv_rows(write(tmp_path, b"a,b\n1,2\n3\n")))
    with pytest.raises(BadData, match=r"lacks the column 'c'; found: a, b"):
        list(csv_rows(write(tmp_path, b"a,b\n"), ("a", "c")))
    with pytest.raises(BadData, match=r"lacks the column 'c'; found: nothing"):
        list(csv_rows(write(tmp_path, b""), ("c",)))


def test_a_missing_file_a_folder_and_a_device_are_named(tmp_path):
    for file, said in ((tmp_path / "none.csv", "No such file"), (tmp_path, "Is a directory"), ("/dev/zero", "regular")):
        with pytest.raises(BadData, match=said):
            list(csv_rows(file))
