"""Tables and the line on the machine."""

from pathlib import Path

from benchmarks.report import machine, table


def test_columns_of_a_table_line_up() -> None:
    drawn = table(("", "seconds", "MB"), [("glassine", "1.50", "7"), ("peer", "12.25", "10.1")])
    assert drawn == (
        "|          | seconds |   MB |\n"
        "| -------- | ------: | ---: |\n"
        "| glassine |    1.50 |    7 |\n"
        "| peer     |   12.25 | 10.1 |"
    )


def test_machine_is_one_line_that_names_cores_memory_and_python(tmp_path: Path) -> None:
    line = machine(tmp_path)
    assert "\n" not in line
    assert all(word in line for word in (" cores", " GiB", "Python 3."))
