"""The benchmark of response times: its percentile and its table."""

from benchmarks.latency import percentile, summary


def test_the_percentile_is_what_all_but_one_in_a_hundred_take_at_most() -> None:
    assert percentile([float(n) for n in range(101)], 99) == 99


def test_the_table_compares_medians() -> None:
    found = {"alone": [0.002, 0.001, 0.004], "with a conversion": [0.003, 0.005, 0.001]}
    _, _, first, second = summary(found, 3000).splitlines()[3:]
    assert [cell.strip() for cell in first.strip("|").split("|")] == ["alone", "2.00", "1.00-4.00", "1.00"]
    assert [cell.strip() for cell in second.strip("|").split("|")] == ["with a conversion", "3.00", "1.00-5.00", "1.50"]
