"""A route: a transaction's method and path, and the function that answers it (PS3.18 §10.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from dicomulus.dicom.resource import InstanceResource, SeriesResource, is_addressable
from dicomulus.errors import (
    InvalidResourceError,
    MethodNotAllowedError,
    RouteNotFoundError,
    ScopeMissingError,
    TokenInvalidError,
    TokenMissingError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dicomulus.services.archive import Archive
    from dicomulus.wire.message import Request, Response, Scope

    Handler = Callable[[Archive, Request, Mapping[str, str]], Response]

_UIDS: Final = frozenset({"study", "series", "instance"})
"""Variables that are UIDs."""

_REST: Final = "+"
"""Ends the name of a variable that takes all segments that are left."""


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the route table.

    ``template`` lies below the base path; a variable is a whole segment in braces, and one whose
    name ends with ``+`` takes the rest of the path, slashes included.
    """

    method: Literal["GET", "POST", "PUT", "DELETE", "OPTIONS"]
    template: str
    handler: Handler
    scope: Scope = "read"
    decodes: bool = False
    """Answers may need pixels decoded, so that they are made where the decoders are."""
    segments: tuple[str, ...] = field(init=False, repr=False, compare=False)
    """The template's segments; the base URL itself has none."""
    _fixed: tuple[tuple[int, str], ...] = field(init=False, repr=False, compare=False)
    _variables: tuple[tuple[int, str], ...] = field(init=False, repr=False, compare=False)
    _rest: str = field(init=False, repr=False, compare=False)
    """The name of the variable that takes the rest; empty for none."""

    def __post_init__(self) -> None:
        """Take the template apart once: each request is held against all of them."""
        path = self.template.strip("/")
        segments = tuple(path.split("/")) if path else ()
        places = list(enumerate(segments))
        rest = places.pop()[1][1:-2] if path.endswith(_REST + "}") else ""
        parts = {
            "segments": segments,
            "_fixed": tuple(each for each in places if not each[1].startswith("{")),
            "_variables": tuple((at, part[1:-1]) for at, part in places if part.startswith("{")),
            "_rest": rest,
        }
        for name, value in parts.items():
            object.__setattr__(self, name, value)

    def match(self, segments: Sequence[str]) -> dict[str, str] | None:
        """Give the variables' values if the path, in decoded segments, fits the template."""
        count = len(self.segments)
        if len(segments) < count if self._rest else len(segments) != count:
            return None
        for position, part in self._fixed:
            if segments[position] != part:
                return None
        variables = {name: segments[position] for position, name in self._variables}
        if self._rest:
            variables[self._rest] = "/".join(segments[count - 1 :])
            return variables if variables[self._rest] else None
        return variables


def find_route(
    routes: Sequence[Route], method: str, *, segments: Sequence[str]
) -> tuple[Route, dict[str, str]]:
    """Find the route of a request; HEAD is answered by that of GET.

    Args:
        routes: The route table.
        method: The request's method.
        segments: The path below the base path, in decoded segments.

    Raises:
        RouteNotFoundError: No route has the path.
        MethodNotAllowedError: One has, but not with that method.
        InvalidResourceError: A segment cannot be the UID it stands for.
    """
    fitting = [(route, found) for route in routes if (found := route.match(segments)) is not None]
    if not fitting:
        raise RouteNotFoundError("there is no such resource")
    wanted = "GET" if method == "HEAD" else method
    for route, variables in fitting:
        if route.method == wanted:
            _check(variables)
            return route, variables
    raise MethodNotAllowedError(method, _methods(fitting))


def series_of(variables: Mapping[str, str]) -> SeriesResource:
    """Give the series that a path names."""
    return SeriesResource(variables["study"], variables["series"])


def instance_of(variables: Mapping[str, str]) -> InstanceResource:
    """Give the instance that a path names."""
    return InstanceResource(variables["study"], variables["series"], variables["instance"])


def check_known(request: Request) -> None:
    """Refuse a request of somebody unknown.

    Raises:
        TokenMissingError: It has no token.
        TokenInvalidError: Its token is none that is known.
    """
    if request.scopes:
        return
    if "Authorization" in request.headers:
        raise TokenInvalidError("the bearer token is not one that is known here")
    raise TokenMissingError("this archive asks for a bearer token")


def check_scope(request: Request, scope: Scope) -> None:
    """Refuse a request whose token is not for what it asks.

    Raises:
        ScopeMissingError: It does not have that scope.
    """
    if scope not in request.scopes:
        raise ScopeMissingError(scope)


def _methods(fitting: Sequence[tuple[Route, dict[str, str]]]) -> tuple[str, ...]:
    methods = {route.method for route, _ in fitting}
    return tuple(sorted(methods | {"HEAD", "OPTIONS"} if "GET" in methods else methods))


def _check(variables: Mapping[str, str]) -> None:
    for name, value in variables.items():
        if not value or (name in _UIDS and not is_addressable(value)):
            raise InvalidResourceError(f"{name}: empty, too long or of control characters")
