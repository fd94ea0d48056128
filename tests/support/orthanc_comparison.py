"""Answers of Orthanc's REST API: asked for, and compared but for the values that must differ."""

from __future__ import annotations

import http.client
import io
import json
import re
import zipfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from tests.support.serving import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tests.support.orthanc_questions import Question

_COMPARED_HEADERS: Final = ("ETag", "Content-Disposition", "Content-Range", "Location")
_SHOWN_CHARACTERS: Final = 300
_SHOWN_PLACES: Final = 6


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered, as it is compared: JSON as values, a ZIP file as its members."""

    status: int
    content_type: str
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True, slots=True)
class Difference:
    """A rule by which answers that differ are equal, applied to both."""

    reason: str
    where: re.Pattern[str]
    """Found in the method and the path, with a space between."""
    without: Callable[[Answer], Answer]
    """Gives an answer without what may differ."""


class Server:
    """A server of Orthanc's REST API below a URL."""

    def __init__(self, url: str) -> None:
        """Talk to a server."""
        _, _, rest = url.partition("://")
        host, slash, path = rest.partition("/")
        self._prefix = slash + path
        self._connection = http.client.HTTPConnection(host, timeout=PATIENCE_SECONDS)

    def raw(self, question: Question) -> tuple[int, Mapping[str, str], bytes]:
        """Ask; give status, headers and body as they come."""
        self._connection.request(
            question.method,
            self._prefix + question.path,
            body=question.body,
            headers=dict(question.headers),
        )
        try:
            response = self._connection.getresponse()
            body = response.read()
        except (http.client.HTTPException, OSError):
            self._connection.close()
            raise
        return response.status, dict(response.headers), body

    def ask(self, question: Question) -> Answer:
        """Ask; give the answer as it is compared."""
        status, headers, body = self.raw(question)
        content_type = headers.get("Content-Type", "").partition(";")[0].strip()
        kept = {name: value for name in _COMPARED_HEADERS if (value := headers.get(name))}
        # What this server says of a failure is RFC 9457's, not Orthanc's.
        if status >= http.client.BAD_REQUEST:
            return Answer(status, "", {}, None)
        prefixed = kept.get("Location", "")
        if prefixed.startswith(self._prefix):
            kept["Location"] = prefixed.removeprefix(self._prefix)
        return Answer(status, content_type, kept, _value(content_type, body))

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


def _value(content_type: str, body: bytes) -> Any:
    if content_type == "application/json":
        return json.loads(body)
    if content_type == "application/zip":
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    return body


def differences(
    theirs: Answer, ours: Answer, question: Question, *, rules: Sequence[Difference]
) -> list[str]:
    """Tell in what two answers to a question differ, other than by the rules."""
    asked = f"{question.method} {question.path}"
    for rule in rules:
        if rule.where.search(asked):
            theirs, ours = rule.without(theirs), rule.without(ours)
    if theirs.status != ours.status:
        return [f"status {theirs.status}, ours {ours.status}"]
    found = []
    if theirs.content_type != ours.content_type:
        found.append(f"content type {theirs.content_type!r}, ours {ours.content_type!r}")
    found.extend(_of_values("headers", dict(theirs.headers), dict(ours.headers)))
    found.extend(_of_values("", theirs.body, ours.body))
    return found[:_SHOWN_PLACES]


def _of_values(place: str, theirs: Any, ours: Any) -> Iterator[str]:
    if type(theirs) is not type(ours):
        yield f"{place or 'body'}: {_shown(theirs)}, ours {_shown(ours)}"
    elif isinstance(theirs, dict):
        for name in {**theirs, **ours}:
            if name not in ours:
                yield f"{place}/{name}: ours has none, theirs {_shown(theirs[name])}"
            elif name not in theirs:
                yield f"{place}/{name}: theirs has none, ours {_shown(ours[name])}"
            else:
                yield from _of_values(f"{place}/{name}", theirs[name], ours[name])
    elif isinstance(theirs, list) and len(theirs) == len(ours):
        for index, (one, other) in enumerate(zip(theirs, ours, strict=True)):
            yield from _of_values(f"{place}/{index}", one, other)
    elif theirs != ours:
        yield f"{place or 'body'}: {_shown(theirs)}, ours {_shown(ours)}"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value)} of them: {repr(value)[:_SHOWN_CHARACTERS]}"
    return repr(value)[:_SHOWN_CHARACTERS]


# --- what rules are made of ------------------------------------------------------------------------


def in_bodies(change: Callable[[Any], Any]) -> Callable[[Answer], Answer]:
    """Give what changes the body of an answer."""

    def without(answer: Answer) -> Answer:
        return replace(answer, body=change(answer.body))

    return without


def members(names: Sequence[str], form: str, *, instead: Any) -> Callable[[Answer], Answer]:
    """Give what replaces the values of members with these names, at any depth, if they are right.

    Args:
        names: Of the members.
        form: A pattern that all of the value has; what does not have it stays, and so differs.
        instead: The value that is compared.
    """
    pattern = re.compile(form)

    def change(value: Any) -> Any:
        if isinstance(value, list):
            return [change(each) for each in value]
        if not isinstance(value, dict):
            return value
        return {
            name: instead if name in names and pattern.fullmatch(str(each)) else change(each)
            for name, each in value.items()
        }

    return in_bodies(change)


def dropped(*names: str) -> Callable[[Answer], Answer]:
    """Give what drops members with these names, at any depth, and from lists of names."""

    def change(value: Any) -> Any:
        if isinstance(value, list):
            return [change(each) for each in value if each not in names]
        if not isinstance(value, dict):
            return value
        return {name: change(each) for name, each in value.items() if name not in names}

    return in_bodies(change)


def whole(form: str, *, instead: Any) -> Callable[[Answer], Answer]:
    """Give what replaces a body that is text of a form."""
    pattern = re.compile(form.encode())

    def change(value: Any) -> Any:
        return instead if isinstance(value, bytes) and pattern.fullmatch(value) else value

    return in_bodies(change)


def without_headers(*names: str) -> Callable[[Answer], Answer]:
    """Give what does not compare headers."""

    def without(answer: Answer) -> Answer:
        kept = {name: value for name, value in answer.headers.items() if name not in names}
        return replace(answer, headers=kept)

    return without
