"""docs/cost.md says what the formula gives."""

from __future__ import annotations

import pytest

from tests.benchmarks.cost_document import DOCUMENT, amount, written


def test_the_document_has_the_figures_of_the_formula() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    told = "run: python -m tests.benchmarks.cost_document --update-docs"
    assert written(text) == text, told


def test_a_place_that_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match="levers"):
        written("<!-- figures: idle -->\n<!-- end of figures -->")


@pytest.mark.parametrize(
    ("value", "text"), [(0.00012, "0.0001"), (3.14159, "3.14"), (1234.5, "1,234")]
)
def test_an_amount_has_about_three_digits(value: float, text: str) -> None:
    assert amount(value) == text
