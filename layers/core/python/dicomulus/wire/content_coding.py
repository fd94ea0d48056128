"""Choosing a content coding by Accept-Encoding (RFC 9110 §12.5.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

ContentCoding = Literal["gzip", "zstd", "identity"]

_BY_NAME_ONLY: Final = frozenset({"zstd"})
"""Codings that ``*`` does not mean: many clients send it and know only gzip."""

_ALIASES: Final = {"x-gzip": "gzip"}


def negotiate(accept_encoding: str | None, available: Sequence[ContentCoding]) -> ContentCoding:
    """Choose a coding that there is, given in order of preference; identity if none is accepted.

    Weights that do not parse refuse their coding. Identity is also the answer to a client that
    forbids it, as RFC 9110 recommends over a refusal.
    """
    weights = _weights(accept_encoding or "")
    best: ContentCoding = "identity"
    best_weight = 0.0
    for coding in available:
        weight = _weight(coding, weights)
        if weight > best_weight:
            best, best_weight = coding, weight
    identity = weights.get("identity", 0.0)
    return "identity" if identity > best_weight else best


def _weight(coding: str, weights: dict[str, float]) -> float:
    fallback = 0.0 if coding in _BY_NAME_ONLY else weights.get("*", 0.0)
    return weights.get(coding, fallback)


def _weights(accept_encoding: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for element in accept_encoding.lower().split(","):
        name, _, parameters = element.partition(";")
        name = name.strip()
        if name:
            weights[_ALIASES.get(name, name)] = _quality(parameters)
    return weights


def _quality(parameters: str) -> float:
    name, _, text = parameters.partition("=")
    if not name.strip():
        return 1.0
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if name.strip() == "q" and 0.0 <= quality <= 1.0 else 0.0
