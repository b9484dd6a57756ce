import pickle

import pytest

from converters import errors
from converters.errors import ConverterError
from formats import errors as format_errors
from formats.errors import FormatError


def leaves(base: type[Exception], module: str) -> list[type[Exception]]:
    found = [base]
    for kind in found:
        found += kind.__subclasses__()
    return [kind for kind in found if kind.__module__ == module]


@pytest.mark.parametrize("kind", [*leaves(ConverterError, errors.__name__), *leaves(FormatError, format_errors.__name__)])
def test_errors_come_back_from_other_processes_as_they_were(kind: type[Exception]) -> None:
    error = pickle.loads(pickle.dumps(kind("scale 8_8_40: block 3 is cut short")))
    assert type(error) is kind
    assert str(error) == "scale 8_8_40: block 3 is cut short"
    assert kind.__init__ is Exception.__init__


def test_the_tree_in_the_text_is_the_tree() -> None:
    assert errors.__doc__ is not None
    for kind in leaves(ConverterError, errors.__name__):
        assert kind.__name__ in errors.__doc__
