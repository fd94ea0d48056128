"""The one session that all clients of AWS are made of.

What a session reads of its first client, the others need not: the endpoints of all services, the
defaults, the certificates. boto3 adds nothing that is used here, and time to every cold start.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import botocore.session
from pynamodb.connection import Connection

if TYPE_CHECKING:
    from botocore.config import Config


@cache
def shared_session() -> botocore.session.Session:
    """Give the session of this process, set up by its environment.

    Making clients of it is not thread-safe, using them is.
    """
    return botocore.session.get_session()


def make_client(
    service: str, *, region: str | None, endpoint_url: str | None, config: Config
) -> Any:
    """Make a client; without region or endpoint, for those the environment names."""
    return shared_session().create_client(
        service, region_name=region, endpoint_url=endpoint_url, config=config
    )


class SharedConnection(Connection):
    """A connection of PynamoDB whose client is of the shared session."""

    @property
    def session(self) -> botocore.session.Session:
        """Give the shared session."""
        return shared_session()
