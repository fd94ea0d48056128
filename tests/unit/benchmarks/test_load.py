"""What wrk prints, read."""

from __future__ import annotations

import pytest

from tests.benchmarks.interleaving import UnexpectedAnswerError
from tests.benchmarks.load import parse_wrk

PRINTED = """Running 4s test @ http://127.0.0.1:8080/
  1 threads and 8 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     4.36ms    2.12ms  31.05ms   86.54%
    Req/Sec     1.88k   214.70     2.21k    70.00%
  Latency Distribution
     50%  {median}
     75%    4.92ms
  7486 requests in 4.01s, 1.04GB read
Requests/sec:   1868.51
Transfer/sec:    265.10MB
"""


@pytest.mark.parametrize(
    ("median", "milliseconds"), [("3.97ms", 3.97), ("240.00us", 0.24), ("1.25s", 1250)]
)
def test_answers_rate_and_median_are_read(median: str, milliseconds: float) -> None:
    count, per_second, median_ms = parse_wrk(PRINTED.format(median=median))
    assert (count, per_second) == (7486, 1868.51)
    assert median_ms == pytest.approx(milliseconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        PRINTED.format(median="1ms") + "  Non-2xx or 3xx responses: 3\n",
        "  Socket errors: connect 0, read 8, write 0, timeout 0\n" + PRINTED.format(median="1ms"),
        PRINTED.format(median="0us").replace("7486 requests", "0 requests"),
    ],
)
def test_errors_and_no_answers_are_refused(text: str) -> None:
    with pytest.raises(UnexpectedAnswerError):
        parse_wrk(text)
