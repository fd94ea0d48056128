"""Searches over HTTP, and what their answers are read for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import requests

from tests.support.serving import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Json = dict[str, Any]

UID_TAG: Final = {"study": "0020000D", "series": "0020000E", "instance": "00080018"}
LEVELS: Final = tuple(UID_TAG)
"""What a search finds, highest level first."""

ALL_RESOURCES: Final = {"study": "/studies", "series": "/series", "instance": "/instances"}
"""The resources that are searched across the archive (PS3.18 Table 10.6.1-1)."""


class SearchClient:
    """Sends searches below a base URL over one connection."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._session = requests.Session()

    def request(self, method: str, path: str, **headers: str) -> requests.Response:
        """Send a request for a path below the base URL, or for a whole URL."""
        url = path if path.startswith("http") else self.base_url + path
        lines = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._session.request(method, url, headers=lines, timeout=PATIENCE_SECONDS)

    def get(self, path: str, **headers: str) -> requests.Response:
        """Get what may be refused."""
        return self.request("GET", path, **headers)

    def search(self, path: str) -> list[Json]:
        """Give the results of a search that is not refused."""
        response = self.get(path)
        assert response.status_code == 200, (path, response.text)
        found: list[Json] = response.json()
        return found

    def uids(self, path: str, level: str) -> set[str]:
        """Give the UIDs of the results; each result is one of its own."""
        found = uids_of(self.search(path), level)
        assert len(found) == len(set(found)), path
        return set(found)

    def pages(self, path: str, **headers: str) -> Iterator[requests.Response]:
        """Follow the links to next pages; each is asked for when the one before was used."""
        url = path
        while url:
            response = self.get(url, **headers)
            assert response.status_code == 200, (url, response.text)
            yield response
            url = response.links.get("next", {}).get("url", "")

    def close(self) -> None:
        """Close the connection."""
        self._session.close()


def first(attributes: Json, tag: str) -> Any:
    """Give the first value of an attribute that has one."""
    return attributes[tag]["Value"][0]


def uids_of(found: Iterable[Json], level: str) -> list[str]:
    """Give the UIDs of results, in their order."""
    return [first(each, UID_TAG[level]) for each in found]
