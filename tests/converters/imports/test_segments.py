"""Which segment a file shows: its name, one id, a table."""

from pathlib import Path

import pytest

from converters.errors import OptionError
from converters.imports.segments import SegmentFile, segment_files

LARGEST = (1 << 64) - 1


def table(folder: Path, text: str, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def test_ids_from_names_are_exact():
    files = [Path("x/123.stl"), Path("007.surf.gii"), Path("9007199254740993.GII.GZ"), Path(f"{LARGEST}.ply")]
    with pytest.raises(
        OptionError, match=r"007\.surf\.gii: its name tells no segment id, expected one such as 123\.gii; add --id N"
    ):
        segment_files(files, None, None)
    files[1] = Path("007.gii")
    assert [file.segment for file in segment_files(files, None, None)] == [123, 7, 9007199254740993, LARGEST]


def test_one_id_for_all_files():
    assert segment_files([Path("lh.pial.gii"), Path("rh.pial.gii")], 5, None) == (
        SegmentFile(Path("lh.pial.gii"), 5),
        SegmentFile(Path("rh.pial.gii"), 5),
    )


def test_a_table_tells_files_ids_and_names(tmp_path: Path):
    found = table(tmp_path, '\ufeffID,File,name\r\n7,a.stl,"Purkinje, 1"\r\n\r\n8, sub/b.obj ,\r\n')
    assert segment_files([], None, found) == (
        SegmentFile(tmp_path / "a.stl", 7, "Purkinje, 1"),
        SegmentFile(tmp_path / "sub/b.obj", 8, ""),
    )
    assert segment_files([tmp_path / "sub" / "b.obj"], None, found) == (SegmentFile(tmp_path / "sub/b.obj", 8, ""),)
    assert segment_files([Path("elsewhere/a.stl")], None, found) == (SegmentFile(Path("elsewhere/a.stl"), 7, "Purkinje, 1"),)


def test_a_table_with_tabs_and_other_columns(tmp_path: Path):
    found = table(tmp_path, f"file\tid\tvolume\na.stl\t{LARGEST}\t3.5\n", "table.tsv")
    assert segment_files([], None, found) == (SegmentFile(tmp_path / "a.stl", LARGEST, ""),)


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("", "t.csv", "its first line has nothing, expected the columns file and id"),
        ("path,id\na.stl,1\n", "t.csv", "its first line has path, id, expected the columns file and id"),
        ("file,id,id\na.stl,1,1\n", "t.csv", "its first line has file, id, id"),
        ("file,id\na.stl,1\nb.stl\n", "t.csv", "line 3 has 1 cells, expected 2 as the first line has"),
        ("file,id\n,1\n", "t.csv", "line 2 names no file"),
        ("file,id\na.stl,1.5\n", "t.csv", f"line 2: the id is '1.5', expected a whole number from 1 to {LARGEST}"),
        ("file,id\na.stl,0\n", "t.csv", "line 2: the id is '0'"),
        ("file,id\na.stl,-1\n", "t.csv", "line 2: the id is '-1'"),
        ("file,id\na.stl,²\n", "t.csv", "line 2: the id is '²'"),
        (f"file,id\na.stl,{LARGEST + 1}\n", "t.csv", f"line 2: the id is '{LARGEST + 1}'"),
        ('file,id\n"a.stl,1\n', "t.csv", "cannot be read as a table in UTF-8"),
        ("file,id\n", "t.csv", "no files are given"),
        ("file,id\na.stl,1\n", "t.xlsx", "is no table by its name, expected one that ends in .csv or .tsv"),
        ("file,id\na.stl,1\n./a.stl,2\n", "t.csv", "a.stl: is there twice, for segments 1 and 2; keep one of them"),
        (
            "file,id,name\na.stl,1,x\nb.stl,1,y\n",
            "t.csv",
            "segment 1 has the names 'x' and 'y'; give its files one name, or two ids",
        ),
    ],
)
def test_tables_that_are_refused(text: str, name: str, said: str, tmp_path: Path):
    with pytest.raises(OptionError) as caught:
        segment_files([], None, table(tmp_path, text, name))
    assert said in str(caught.value)


def test_what_else_is_refused(tmp_path: Path):
    found = table(tmp_path, "file,id\na.stl,1\n")
    with pytest.raises(OptionError, match=r"c\.stl: is not in the table .*table\.csv; add a line"):
        segment_files([Path("c.stl")], None, found)
    with pytest.raises(OptionError, match="--id and --table are both given, expected one of them"):
        segment_files([Path("a.stl")], 3, found)
    with pytest.raises(OptionError, match=r"none\.csv: there is no such table"):
        segment_files([], None, tmp_path / "none.csv")
    with pytest.raises(OptionError, match="no files are given, expected FILES and then the DATASET"):
        segment_files([], 3, None)
    with pytest.raises(OptionError, match=r"5\.stl: is there twice, for segments 5 and 5"):
        segment_files([Path("5.stl"), Path("./5.stl")], None, None)
