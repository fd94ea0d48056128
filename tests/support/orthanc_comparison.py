"""Answers of Orthanc's REST API: asked for, and compared but for the values that must differ."""

from __future__ import annotations

import gzip
import http.client
import io
import json
import re
import zipfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from PIL import Image

from tests.support.serving import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tests.support.orthanc_questions import Question

_COMPARED_HEADERS: Final = ("ETag", "Content-Disposition", "Content-Range", "Location")
_SHOWN_CHARACTERS: Final = 300
_SHOWN_PLACES: Final = 6


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered, as it is compared.

    JSON is its values, a ZIP file its members, and an image its pixels.
    """

    status: int
    content_type: str
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True, slots=True)
class Difference:
    """A rule by which answers that differ are equal, for both answers."""

    reason: str
    where: str
    """A pattern that is found in the method and the path, with a space between."""
    without: Callable[[Answer, Answer], tuple[Answer, Answer]]
    """Gives Orthanc's answer and ours without what may differ."""
    body: str = ""
    """A pattern that is found in the body of the request."""
    before: tuple[int, ...] | None = None
    """The version in which Orthanc has begun to answer as this server does, if it has."""


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
        try:
            return self._ask(question)
        except (http.client.RemoteDisconnected, ConnectionError):
            # Orthanc ends a connection that was idle for a second.
            self._connection.close()
            return self._ask(question)

    def _ask(self, question: Question) -> tuple[int, Mapping[str, str], bytes]:
        self._connection.request(
            question.method,
            self._prefix + question.path,
            body=question.body,
            headers=dict(question.headers),
        )
        response = self._connection.getresponse()
        body = response.read()
        return response.status, dict(response.headers), body

    def ask(self, question: Question) -> Answer:
        """Ask; give the answer as it is compared."""
        status, headers, body = self.raw(question)
        content_type = headers.get("Content-Type", "").partition(";")[0].strip()
        kept = {name: value for name in _COMPARED_HEADERS if (value := headers.get(name))}
        # What this server says of a failure is RFC 9457's, not Orthanc's.
        if status >= http.client.BAD_REQUEST:
            return Answer(status, "", {}, None)
        if "Location" in kept:
            kept["Location"] = kept["Location"].removeprefix(self._prefix)
        return Answer(status, content_type, kept, _value(content_type, body))

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


def _value(content_type: str, body: bytes) -> Any:
    if content_type in ("application/json", "application/dicom+json"):
        return json.loads(body)
    if content_type == "application/zip":
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    if content_type == "application/gzip":
        return gzip.decompress(body)
    if content_type in ("image/png", "image/x-portable-arbitrarymap"):
        with Image.open(io.BytesIO(body)) as image:
            return {"size": image.size, "mode": image.mode, "pixels": image.tobytes()}
    return body


def differences(
    theirs: Answer, ours: Answer, question: Question, *, rules: Sequence[Difference]
) -> list[str]:
    """Tell in what two answers to a question differ, other than by the rules."""
    asked = f"{question.method} {question.path}"
    sent = (question.body or b"").decode(errors="replace")
    for rule in rules:
        if re.search(rule.where, asked) and re.search(rule.body, sent):
            theirs, ours = rule.without(theirs, ours)
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

_Pair = tuple[Answer, Answer]


def in_order(value: Any) -> Any:
    """Put a list of resources, or of their identifiers, into order."""
    if isinstance(value, list):
        return sorted(value, key=lambda each: str(each["ID"] if isinstance(each, dict) else each))
    return value


def in_order_below(value: Any) -> Any:
    """Put what resources consist of into order."""
    if isinstance(value, list):
        return [in_order_below(each) for each in value]
    if not isinstance(value, dict):
        return value
    levels = ("Studies", "Series", "Instances")
    return {name: in_order(each) if name in levels else each for name, each in value.items()}


def without_private_names(value: Any) -> Any:
    """Drop the names of private elements, at any depth."""
    if isinstance(value, list):
        return [without_private_names(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        tag: without_private_names(
            {**element, "Name": ""} if _is_private(tag) and isinstance(element, dict) else element
        )
        for tag, element in value.items()
    }


def _is_private(tag: Any) -> bool:
    return re.fullmatch("[0-9a-f]{3}[13579bdf],[0-9a-f]{4}", str(tag)) is not None


def without_empty(*names: str) -> Callable[[Any], Any]:
    """Give what drops members with these names that are empty, at any depth."""

    def change(value: Any) -> Any:
        if isinstance(value, list):
            return [change(each) for each in value]
        if not isinstance(value, dict):
            return value
        return {
            name: change(each)
            for name, each in value.items()
            if name not in names or each not in ("", {"Value": ""})
        }

    return change


def renamed(pattern: str, instead: str) -> Callable[[Any], Any]:
    """Give what changes names of members, and values of those called ``Name``, at any depth."""

    def change(value: Any) -> Any:
        if isinstance(value, list):
            return [change(each) for each in value]
        if not isinstance(value, dict):
            return value
        return {
            re.sub(pattern, instead, name): re.sub(pattern, instead, each)
            if name == "Name" and isinstance(each, str)
            else change(each)
            for name, each in value.items()
        }

    return change


def respaced(value: Any) -> Any:
    """Take away spaces before backslashes and at the end, at any depth."""
    if isinstance(value, str):
        return re.sub(r" +(\\|$)", r"\1", value)
    if isinstance(value, list):
        return [respaced(each) for each in value]
    if isinstance(value, dict):
        return {name: respaced(each) for name, each in value.items()}
    return value


def contents(value: Any) -> Any:
    """Put the contents of an archive into order, without names, and without a DICOMDIR."""
    if not isinstance(value, dict):
        return value
    return sorted(content for name, content in value.items() if name != "DICOMDIR")


def set_of_changes(value: Any) -> Any:
    """Give which changes a page of the log has, in an order that is the same for all logs."""
    if not isinstance(value, dict):
        return value
    told = {
        tuple(str(each[name]) for name in ("ChangeType", "ID", "Path", "ResourceType"))
        for each in value["Changes"]
    }
    return {"Changes": sorted(told), "Done": value["Done"]}


def without_patients_at_rest_of(identifier: str) -> Callable[[Any], Any]:
    """Give what drops that a patient is stable from the set of changes."""

    def change(value: Any) -> Any:
        told = [each for each in value["Changes"] if each[:2] != ("StablePatient", identifier)]
        return {**value, "Changes": told}

    return change


def form_of_changes(value: Any) -> Any:
    """Give the members that a page of the log has, and how many changes."""
    if not isinstance(value, dict) or isinstance(next(iter(value["Changes"]), None), tuple):
        return value
    changes = [{name: type(each[name]).__name__ for name in each} for each in value["Changes"]]
    return {"Changes": changes, "Done": value["Done"], "Last": type(value["Last"]).__name__}


def in_decimals(value: Any) -> Any:
    """Give numbers for texts of numbers, and with a fraction all, at any depth."""
    if isinstance(value, list):
        return [in_decimals(each) for each in value]
    if isinstance(value, dict):
        return {name: in_decimals(each) for name, each in value.items()}
    is_number = isinstance(value, int | float) or re.fullmatch(r"-?\d+(\.\d+)?", str(value))
    return float(value) if is_number else value


def number_of(value: Any) -> Any:
    """Count a list."""
    return len(value) if isinstance(value, list) else value


def both(change: Callable[[Answer], Answer]) -> Callable[[Answer, Answer], _Pair]:
    """Give what changes each answer by itself."""
    return lambda theirs, ours: (change(theirs), change(ours))


def in_bodies(change: Callable[[Any], Any]) -> Callable[[Answer, Answer], _Pair]:
    """Give what changes the body of each answer."""
    return both(lambda answer: replace(answer, body=change(answer.body)))


def members(names: Sequence[str], form: str, *, instead: Any) -> Callable[[Answer, Answer], _Pair]:
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


def dropped(*names: str | int) -> Callable[[Answer, Answer], _Pair]:
    """Give what drops members with these names, at any depth, and from lists of names."""

    def change(value: Any) -> Any:
        if isinstance(value, list):
            return [change(each) for each in value if each not in names]
        if not isinstance(value, dict):
            return value
        return {name: change(each) for name, each in value.items() if name not in names}

    return in_bodies(change)


def dropped_like(form: str) -> Callable[[Answer, Answer], _Pair]:
    """Give what drops members whose names have a form, at any depth."""
    pattern = re.compile(form)

    def change(value: Any) -> Any:
        if isinstance(value, list):
            return [change(each) for each in value]
        if not isinstance(value, dict):
            return value
        return {
            name: change(each) for name, each in value.items() if not pattern.fullmatch(str(name))
        }

    return in_bodies(change)


def ours_where(form: str, *, theirs: Callable[[Any], bool]) -> Callable[[Answer, Answer], _Pair]:
    """Give what takes our values for theirs in members with names of a form, where theirs are so."""
    pattern = re.compile(form)

    def change(one: Any, other: Any) -> Any:
        if isinstance(one, list) and isinstance(other, list):
            return [*map(change, one, other), *one[len(other) :]]
        if not (isinstance(one, dict) and isinstance(other, dict)):
            return one
        changed = {}
        for name, value in one.items():
            is_meant = name in other and pattern.fullmatch(str(name)) and theirs(value)
            changed[name] = other[name] if is_meant else change(value, other.get(name))
        return changed

    def pair(answer: Answer, of_ours: Answer) -> _Pair:
        return replace(answer, body=change(answer.body, of_ours.body)), of_ours

    return pair


def more_is_theirs(theirs: Answer, ours: Answer) -> _Pair:
    """Drop the members that Orthanc's object has and ours has not."""
    if isinstance(theirs.body, dict) and isinstance(ours.body, dict):
        kept = {name: value for name, value in theirs.body.items() if name in ours.body}
        theirs = replace(theirs, body=kept)
    return theirs, ours


def more_is_ours(theirs: Answer, ours: Answer) -> _Pair:
    """Drop the members that our object has and Orthanc's has not."""
    theirs, ours = more_is_theirs(ours, theirs)
    return ours, theirs


def common_members(theirs: Answer, ours: Answer) -> _Pair:
    """Keep the members that both objects have."""
    return more_is_ours(*more_is_theirs(theirs, ours))


def whole(form: str, *, instead: Any) -> Callable[[Answer, Answer], _Pair]:
    """Give what replaces a body that is text of a form."""
    pattern = re.compile(form.encode())

    def change(value: Any) -> Any:
        return instead if isinstance(value, bytes) and pattern.fullmatch(value) else value

    return in_bodies(change)


def without_headers(*names: str) -> Callable[[Answer, Answer], _Pair]:
    """Give what does not compare headers."""

    def without(answer: Answer) -> Answer:
        kept = {name: value for name, value in answer.headers.items() if name not in names}
        return replace(answer, headers=kept)

    return both(without)


def without_content_type(theirs: Answer, ours: Answer) -> _Pair:
    """Compare no content type."""
    return replace(theirs, content_type=""), replace(ours, content_type="")


def in_headers(name: str, pattern: str, instead: str) -> Callable[[Answer, Answer], _Pair]:
    """Give what replaces parts of a header that have a form."""

    def change(answer: Answer) -> Answer:
        if name not in answer.headers:
            return answer
        value = re.sub(pattern, instead, answer.headers[name])
        return replace(answer, headers={**answer.headers, name: value})

    return both(change)


def either_way(theirs: Answer, ours: Answer) -> _Pair:
    """Compare nothing of what Orthanc answers."""
    del theirs
    return ours, ours


def statuses(theirs_are: int, ours_are: int) -> Callable[[Answer, Answer], _Pair]:
    """Give what takes one status of ours for another one of theirs, with all that it comes with."""

    def same(theirs: Answer, ours: Answer) -> _Pair:
        is_meant = (theirs.status, ours.status) == (theirs_are, ours_are)
        return (ours, ours) if is_meant else (theirs, ours)

    return same


def pixels_within(levels: int) -> Callable[[Answer, Answer], _Pair]:
    """Give what takes images for equal whose pixels differ by some levels at most."""

    def same(theirs: Answer, ours: Answer) -> _Pair:
        pair = [
            each.body.get("pixels", b"") if isinstance(each.body, dict) else b""
            for each in (theirs, ours)
        ]
        if not pair[0] or len(pair[0]) != len(pair[1]):
            return theirs, ours
        is_close = all(abs(one - other) <= levels for one, other in zip(*pair, strict=True))
        if is_close:
            theirs = replace(theirs, body={**theirs.body, "pixels": pair[1]})
        return theirs, ours

    return same


def in_turn(*changes: Callable[[Answer, Answer], _Pair]) -> Callable[[Answer, Answer], _Pair]:
    """Give what makes several changes, one after the other."""

    def change(theirs: Answer, ours: Answer) -> _Pair:
        for each in changes:
            theirs, ours = each(theirs, ours)
        return theirs, ours

    return change
