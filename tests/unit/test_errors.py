"""The error tree is the one drawn in its module."""

from __future__ import annotations

import inspect
import re

from dicomulus import errors


def drawn() -> dict[str, str]:
    """Give each class of the drawing with the one above it."""
    above = {-1: ""}
    found: dict[str, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    ([│├└─ ]*)([A-Z]\w+Error)\b", line)
        if match:
            depth = len(match.group(1)) // 4
            found[match.group(2)] = above[depth - 1]
            above[depth] = match.group(2)
    return found


def classes() -> dict[str, type[errors.DicomulusError]]:
    return {
        name: each
        for name, each in inspect.getmembers(errors, inspect.isclass)
        if issubclass(each, errors.DicomulusError)
    }


def test_the_drawing_is_the_tree() -> None:
    real = {name: each.__base__.__name__ for name, each in classes().items() if each.__base__}
    assert drawn() == real | {"DicomulusError": ""}


def test_every_class_has_a_code_of_its_own() -> None:
    codes = [each.code for each in classes().values()]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in codes)


def test_errors_of_parameters_and_headers_name_what_breaks_which_rule() -> None:
    assert str(errors.InvalidQueryError("limit", "is negative")) == "limit: is negative"
    assert str(errors.InvalidHeaderError("Accept", "is empty")) == "Accept: is empty"
    assert errors.MethodNotAllowedError("PUT", ("GET", "HEAD")).allowed == ("GET", "HEAD")
