"""The settings of an archive, read from and written to environment variables."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, fields
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from dicomulus.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX: Final = "DICOMULUS_"
"""What the name of every environment variable begins with."""

StorePolicy = Literal["keep", "replace"]
UnknownParameters = Literal["refuse", "ignore"]
MetadataModeName = Literal["full", "main-dicom-tags", "extrapolate"]

PAGES: Final = ("config.json", "pages", "viewer")
"""What the paths of the pages begin with, besides the root itself."""

_AT_LEAST_ONE: Final = (
    "aws_attempts",
    "prefix_bytes",
    "max_row_fragment_bytes",
    "max_bases",
    "max_results",
    "search_page_units",
    "search_seconds",
    "presigned_seconds",
)

_NOT_NEGATIVE: Final = (
    "jobs",
    "search_page_bytes",
    "delete_seconds",
    "verify_days",
    "verify_rate_mb",
)

_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")

_WEBHOOK: Final = re.compile(r"https?://[A-Za-z0-9.\[\]:_-]+(/[!-\"$-~]*)?")

_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off", ""})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How an archive behaves. A field ``x_y`` is the variable ``DICOMULUS_X_Y``.

    Lists are comma-separated in the environment. A string after a field says what it does.
    """

    # where it is
    public_base_url: str = ""
    """Base URL that answers carry, up to and including ``/dicom-web``; empty: from the request."""
    base_path: str = "/dicom-web"
    """Path under which the DICOMweb service lies."""
    orthanc_path: str = "/orthanc"
    """Path under which Orthanc's REST API lies; ``/``: the root; empty: nowhere."""
    host: str = "127.0.0.1"
    """Address that the local server listens on."""
    port: int = 8080
    """Port that the local server listens on; 0 lets the system choose."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks whose forwarding headers are believed."""
    allowed_origins: tuple[str, ...] = ()
    """Origins besides the own and loopback ones whose pages may use the archive; ``*`` for all."""
    token: str = field(default="", repr=False)
    """Bearer token that every request for data must carry; empty: nobody is asked for one."""
    token_file: str = ""
    """File of further such tokens, one a line, each with its scopes behind it if not all."""
    oidc_issuer: str = ""
    """OpenID provider whose access tokens count, by its name in them; empty: none."""
    oidc_audience: str = ""
    """Name of the archive at the provider, for which a token must be."""
    oidc_scopes: tuple[str, ...] = (
        "read=dicomweb.read",
        "write=dicomweb.write",
        "delete=dicomweb.delete",
    )
    """The provider's names of what a token may be for."""
    oidc_roles_claim: str = ""
    """Claim, besides ``scope`` and ``scp``, that lists these names."""
    oidc_clients: tuple[str, ...] = ()
    """Applications whose tokens count; empty: all of the provider's."""
    oidc_introspection_url: str = ""
    """Where the provider is asked of each token whether it was taken back; empty: nowhere."""
    oidc_client_id: str = ""
    """Who asks there."""
    oidc_client_secret: str = field(default="", repr=False)
    """Its secret."""
    oidc_secret_arn: str = ""
    """Secret of AWS Secrets Manager that holds both, as ``client_id`` and ``client_secret``."""
    sign_in_client_id: str = ""
    """Application at the provider as which the pages sign people in; empty: they ask for a token."""
    sign_in_scopes: tuple[str, ...] = ()
    """Scopes that they ask for; empty: ``openid`` and the provider's names of reading."""
    sign_in_origins: tuple[str, ...] = ()
    """Origins besides the provider's own that it gives tokens at."""
    insecure: bool = False
    """Serve an address other than loopback without authentication."""

    # what it holds (local)
    source_folder: str = ""
    """Folder of DICOM files that the local archive serves."""
    data_folder: str = ""
    """Folder of the local archive's index and cache."""
    jobs: int = 0
    """Processes that index a folder at the same time; 0: one for each core."""

    verify_days: int = 7
    """Days in which a local server reads everything once, to compare it with checksums; 0: never."""
    verify_rate_mb: int = 10
    """Megabytes a second that it reads for that, at most; 0: as fast as it can."""

    viewer_folder: str = ""
    """Folder of the OHIF viewer that is served at ``/viewer``."""

    # what it holds (AWS)
    table_name: str = ""
    """DynamoDB table of the index."""
    storage_bucket: str = ""
    """S3 bucket of the DICOM objects."""
    storage_prefix: str = ""
    """Keys outside this prefix of the storage bucket are not the archive's."""
    cache_bucket: str = ""
    """S3 bucket of what can be rebuilt."""
    ingest_queue_url: str = ""
    """SQS queue of object events."""
    compact_queue_url: str = ""
    """SQS queue of series to compact."""
    ingest_dead_letters_url: str = ""
    """SQS queue of object events that failed for good, where they are put with the reason."""
    compact_dead_letters_url: str = ""
    """The same for series to compact."""
    event_dead_letters_url: str = ""
    """SQS queue of events of an adopted bucket that EventBridge could not send."""
    search_shards: int = 4
    """Shards of each ordered index over studies; fixed once there is data."""
    aws_attempts: int = 4
    """Times that a request to AWS is sent before it counts as failed."""

    # ingest and compaction
    prefix_bytes: int = 65_536
    """Bytes of an object read first."""
    max_row_fragment_bytes: int = 8_192
    """Bytes of a compressed fragment over which it goes to the cache store."""
    compact_delay_seconds: int = 5
    """Seconds from the first change of a quiet series to its compaction."""
    stable_age_seconds: int = 60
    """Seconds without change after which a series counts as stable."""
    max_bases: int = 4
    """Base URLs for which a series' bundle is kept."""

    # metadata modes
    studies_metadata: MetadataModeName = "full"
    """Mode of study metadata where the request does not say."""
    series_metadata: MetadataModeName = "full"
    """Mode of series metadata where the request does not say."""
    main_study_tags: tuple[str, ...] = ()
    """Study-level main tags beyond the built-in ones, by keyword or as 8 hexadecimal digits."""
    main_series_tags: tuple[str, ...] = ()
    """Series-level main tags beyond the built-in ones."""
    main_instance_tags: tuple[str, ...] = ()
    """Instance-level main tags beyond the built-in ones."""
    studies_extrapolated_tags: tuple[str, ...] = ("AcquisitionDate",)
    """Attributes that the mode ``extrapolate`` adds to study metadata."""
    series_extrapolated_tags: tuple[str, ...] = (
        "BitsAllocated",
        "BitsStored",
        "Columns",
        "HighBit",
        "PhotometricInterpretation",
        "PixelSpacing",
        "PlanarConfiguration",
        "RescaleIntercept",
        "RescaleSlope",
        "Rows",
        "SOPClassUID",
        "SamplesPerPixel",
        "SliceThickness",
    )
    """Attributes that the mode ``extrapolate`` adds to series metadata."""

    # store
    allow_store: bool = False
    """Accept STOW-RS."""
    store_policy: StorePolicy = "keep"
    """What storing another object under a known instance does."""
    sanitise_preamble: bool = False
    """Whether what is stored gets zeros for a preamble, unless it has none or that of a TIFF."""
    storage_compression: bool = False
    """Whether what is stored is compressed where that makes it smaller."""
    max_request_bytes: int = 8_589_934_592
    """Bytes of a STOW-RS body."""

    # attachments
    attachment_names: tuple[str, ...] = ()
    """Names of kinds of attachments: ``name=number``, or ``name=number:media/type``."""
    attachment_compression: bool = False
    """Whether attachments that are put are kept deflated."""
    check_revisions: bool = False
    """Refuse to replace or delete an attachment or metadata without If-Match."""
    metadata_names: tuple[str, ...] = ()
    """Names of the users' own metadata: ``name=number``."""

    # changes
    webhook_url: str = ""
    """URL to which all changes are sent; empty: none."""
    webhook_secret: str = field(default="", repr=False)
    """What these requests are signed with; empty: they are not signed."""
    webhook_secret_arn: str = ""
    """Secret of AWS Secrets Manager that is it, as text."""
    event_bus_name: str = ""
    """Event bus of EventBridge to which all changes are sent; empty: none."""

    # delete
    allow_delete: bool = False
    """Delete objects when asked to."""
    delete_seconds: int = 0
    """Time that one request deletes for, before it is to be sent again; 0: no limit."""

    # answers
    max_stream_bytes: int = 0
    """Bytes of one answer over which it is refused; 0: no limit."""
    max_direct_bytes: int = 0
    """Bytes of an instance over which clients are sent to the object store for it; 0: never."""
    presigned_seconds: int = 3600
    """Time after which a request presigned by the object store is refused."""
    max_results: int = 10_000
    """Most results of one search page."""
    search_page_units: int = 10_000
    """What one search page may read, in DynamoDB's read units, before it ends with what it has."""
    search_page_bytes: int = 0
    """Bytes of results after which a search page ends; 0: no limit."""
    search_seconds: int = 20
    """Time that a search without any match goes on before it is refused as too broad."""
    unknown_parameters: UnknownParameters = "refuse"
    """What a search does with a parameter that it does not know."""

    extra: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    """Variables under the prefix that no field takes; the command warns of them."""

    def __post_init__(self) -> None:
        """Refuse values out of their ranges."""
        if not 0 <= self.port <= 65_535:
            raise ConfigurationError(f"port: {self.port} is not between 0 and 65535")
        if not 1 <= self.search_shards <= 64:
            raise ConfigurationError(f"search_shards: {self.search_shards} is not 1 to 64")
        for name in ("compact_delay_seconds", "stable_age_seconds"):
            if not 0 <= getattr(self, name) <= 900:
                raise ConfigurationError(f"{name}: not between 0 and 900")
        _check_choice("store_policy", self.store_policy, StorePolicy)
        _check_choice("unknown_parameters", self.unknown_parameters, UnknownParameters)
        for name in _NOT_NEGATIVE:
            if getattr(self, name) < 0:
                raise ConfigurationError(f"{name}: {getattr(self, name)} is negative")
        for name in _AT_LEAST_ONE:
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name}: must be at least 1")
        _check_choice("studies_metadata", self.studies_metadata, MetadataModeName)
        _check_choice("series_metadata", self.series_metadata, MetadataModeName)
        if not self.base_path.startswith("/") or self.base_path.endswith("/"):
            raise ConfigurationError("base_path: must begin with a slash and not end with one")
        _check_orthanc_path(self.orthanc_path, base_path=self.base_path)
        _check_base_url(self.public_base_url)
        _check_webhook(self.webhook_url)
        _check_proxies(self.trusted_proxies)
        _check_origins("allowed_origins", self.allowed_origins)
        _check_origins("sign_in_origins", self.sign_in_origins)
        _check_folders(self.source_folder, self.data_folder)

    @classmethod
    def from_env(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the settings; what is not set keeps its default.

        Raises:
            ConfigurationError: A value does not parse or is out of range.
        """
        environment = os.environ if environment is None else environment
        known = {PREFIX + f.name.upper(): f for f in fields(cls) if f.name != "extra"}
        ours = {k: v for k, v in environment.items() if k.startswith(PREFIX)}
        values: dict[str, Any] = {
            known[key].name: _parse(known[key].name, text, like=known[key].default)
            for key, text in ours.items()
            if key in known
        }
        return cls(**values, extra={k: v for k, v in ours.items() if k not in known})

    def to_env(self) -> dict[str, str]:
        """Give the variables that make these settings; those at their default are left out."""
        return {
            PREFIX + f.name.upper(): _format(getattr(self, f.name))
            for f in fields(self)
            if f.name != "extra" and getattr(self, f.name) != f.default
        }


def _check_choice(name: str, value: str, choices: Any) -> None:
    allowed = get_args(choices)
    if value not in allowed:
        raise ConfigurationError(f"{name}: {value!r} is none of {', '.join(allowed)}")


def _check_orthanc_path(path: str, *, base_path: str) -> None:
    if path in ("", "/"):
        return
    if not path.startswith("/") or path.endswith("/"):
        raise ConfigurationError(
            "orthanc_path: must be empty, a slash, or begin with a slash and not end with one"
        )
    if f"{path}/".startswith(f"{base_path}/"):
        raise ConfigurationError(f"orthanc_path: {path} is DICOMweb's, which lies at {base_path}")
    if path.split("/")[1] in PAGES:
        raise ConfigurationError(f"orthanc_path: {path} is where the pages are")


def _check_base_url(url: str) -> None:
    if not url:
        return
    # The text goes into JSON answers as it is, so it is held to what needs no escaping.
    allowed = all(0x20 < ord(char) < 0x7F and char not in '"\\<>' for char in url)
    if not url.startswith(("http://", "https://")) or url.endswith("/") or not allowed:
        raise ConfigurationError("public_base_url: not an http(s) URL without a slash at its end")


def _check_webhook(url: str) -> None:
    if url and _WEBHOOK.fullmatch(url) is None:
        raise ConfigurationError("webhook_url: not an http(s) URL without user and fragment")


def _check_folders(source: str, data: str) -> None:
    if source and source == data:
        raise ConfigurationError(f"data_folder: {data} is the source itself, which holds no index")


def _check_proxies(proxies: tuple[str, ...]) -> None:
    for proxy in proxies:
        try:
            ip_network(proxy, strict=False)
        except ValueError as exc:
            raise ConfigurationError(
                f"trusted_proxies: {proxy!r} is neither an address nor a network"
            ) from exc


def _check_origins(name: str, origins: tuple[str, ...]) -> None:
    for origin in origins:
        if origin not in ("*", "null") and _ORIGIN.fullmatch(origin) is None:
            raise ConfigurationError(
                f"{name}: {origin!r} is neither * nor an origin as browsers name it, "
                "such as https://viewer.example: in lower case, without a path"
            )


def _parse(name: str, text: str, *, like: object) -> object:
    if isinstance(like, bool):
        return _parse_flag(name, text)
    if isinstance(like, int):
        try:
            return int(text)
        except ValueError as exc:
            raise ConfigurationError(f"{name}: {text!r} is not a whole number") from exc
    if isinstance(like, tuple):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return text


def _parse_flag(name: str, text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ConfigurationError(f"{name}: {text!r} is neither true nor false")


def _format(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value)
