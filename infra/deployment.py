"""What one deployment is asked to be, read from the CDK's context."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from dicomulus.adapters.aws.bucket_cors import EVERY_ORIGIN
from dicomulus.adapters.aws.limits import INGEST_BATCH
from dicomulus.api.sign_in import sign_in_of
from dicomulus.errors import ConfigurationError
from dicomulus.oidc.grants import Grants
from dicomulus.settings import Settings
from infra.layers import RUNTIME_ARCHITECTURES, Architecture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dicomulus.api.sign_in import SignIn

Authorization = Literal["iam", "oidc", "none"]
PriceClass = Literal["100", "200", "all"]

WEB_ADAPTER_LAYER_VERSION: Final = 30
"""Version of the Lambda Web Adapter's public layers that holds the adapter 1.1.0."""

_MAX_CACHE_SECONDS: Final = 3_600
"""Seconds that API Gateway keeps what an authorizer said, at most."""

MAX_INGEST_BATCH: Final = 100
"""Objects looked at by one invocation: one read of 100 items, and their headers fit in memory."""

NEW_TABLE_WRITE_UNITS: Final = 4_000
"""Write units a second that a new table on demand takes at once, and each of its indexes."""

_KEY_ARN: Final = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/(mrk-)?[0-9a-f-]{32,36}")

_PROVIDER_URL: Final = re.compile(r"https://[^\s/?#@]+(/[^\s#]*)?", re.ASCII)

_OF_POLICIES: Final = ("*", "?", "$")
"""Characters that stand for others in the resources of a policy (IAM)."""

_BUCKET_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")

LOG_RETENTION_DAYS: Final = (30, 90, 365, 2192)
"""Days that logs may be kept: of those that CloudWatch has."""

_RANGES: Final = {
    "probe_hours": (0, 8_760),
    "monthly_budget_usd": (0, 1_000_000_000),
    "reconcile_hour": (-1, 23),
    "compare_days": (1, 365),
    "verify_days": (0, 3_650),
    "throttle_rate": (1, 1_000_000),
    "throttle_burst": (1, 1_000_000),
    "waf_rate": (10, 2_000_000_000),
}
"""Lowest and highest of each number; WAF's are AWS's own."""

_ONLY_WITH: Final = {
    "oidc_issuer": ("authorization", "oidc"),
    "oidc_audience": ("authorization", "oidc"),
    "oidc_scopes": ("authorization", "oidc"),
    "oidc_roles_claim": ("authorization", "oidc"),
    "oidc_clients": ("authorization", "oidc"),
    "oidc_introspection_url": ("authorization", "oidc"),
    "oidc_secret_arn": ("authorization", "oidc"),
    "oidc_cache_seconds": ("authorization", "oidc"),
    "countries": ("one_origin", True),
    "price_class": ("one_origin", True),
    "waf_rate": ("waf", True),
}
"""What would be asked for in vain, and might be relied upon, without another option."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One stage. A field is the context key of its name: ``-c stage=prod``."""

    stage: str = "dev"
    """Name of the stage; part of the stacks' names and of the gateway's URL."""
    architecture: Architecture = "arm64"
    """Processor of the functions; the layers are built for it."""
    authorization: Authorization = "iam"
    """Who may call: signed requests of this account's principals, tokens, or everybody."""
    oidc_issuer: str = ""
    """OpenID provider whose access tokens count, by its name in them."""
    oidc_audience: str = ""
    """Name of the archive at the provider, for which a token must be."""
    oidc_scopes: tuple[str, ...] = Settings().oidc_scopes
    """The provider's names of what a token may be for."""
    oidc_roles_claim: str = ""
    """Claim, besides ``scope`` and ``scp``, that lists these names."""
    oidc_clients: tuple[str, ...] = ()
    """Applications whose tokens count; none: all of the provider's."""
    oidc_introspection_url: str = ""
    """Where the provider is asked of each token whether it was taken back."""
    oidc_secret_arn: str = ""
    """Secret of AWS Secrets Manager that holds ``client_id`` and ``client_secret`` for that."""
    sign_in_client_id: str = ""
    """Application at the provider as which the pages sign people in; empty: they ask for a token."""
    sign_in_scopes: tuple[str, ...] = ()
    """Scopes that they ask for; none: ``openid`` and the provider's names of reading."""
    sign_in_origins: tuple[str, ...] = ()
    """Origins besides the provider's own that it gives tokens at."""
    oidc_cache_seconds: int = 0
    """Seconds that the gateway keeps what a token is for; none: each request asks."""
    orthanc: bool = False
    """Answer Orthanc's REST API too, below ``/orthanc``."""
    webhook_url: str = ""
    """URL to which all changes are sent; empty: none."""
    webhook_secret_arn: str = ""
    """Secret of AWS Secrets Manager, a text, that these requests are signed with."""
    event_bus: str = ""
    """Event bus of EventBridge, by its name or ARN, to which all changes are sent; empty: none."""
    retain: bool = False
    """Keep buckets and table when the stack goes. Always so for stages other than ``dev``."""
    allow_delete: bool = False
    """Delete objects when clients ask for that; without, no function has the right to."""
    storage_compression: bool = False
    """Compress what is stored where that makes it smaller."""
    allowed_origins: tuple[str, ...] = ()
    """Origins besides loopback whose pages may use the archive; ``*`` for all."""
    public_base_url: str = ""
    """Base URL as a proxy of one's own has it, up to ``/dicom-web``; empty: the deployment's."""
    one_origin: bool = False
    """CloudFront before pages, viewer and gateway, so that they are of one origin."""
    viewer: bool = True
    """OHIF beside the pages of ``one_origin``."""
    domain_name: str = ""
    """Name of one's own for ``one_origin``, or else for the gateway."""
    certificate_arn: str = ""
    """Certificate of that name: in us-east-1 for ``one_origin``, else where the gateway is."""
    hosted_zone_id: str = ""
    """Hosted zone that records of the name are put into; empty: they are made elsewhere."""
    price_class: PriceClass = "100"
    """Where ``one_origin`` answers from: North America and Europe, further, or all."""
    countries: tuple[str, ...] = ()
    """Countries that ``one_origin`` answers to, by two letters; empty: all."""
    monitoring: bool = True
    """Alarms, dashboard and saved queries."""
    alarm_email: str = ""
    """Address that alarms are sent to; it has to confirm. Empty: others subscribe to the topic."""
    monthly_budget_usd: int = 0
    """US dollars of one month over which a mail is sent; 0: no budget."""
    storage_prefix: str = ""
    """Keys outside this prefix of the storage bucket are not the archive's."""
    replica_bucket_arn: str = ""
    """Bucket elsewhere that S3 writes a copy of each object into; empty: none."""
    replica_kms_key_arn: str = ""
    """Key there that copies are encrypted with, where objects are under a key of KMS."""
    adopt_bucket: str = ""
    """A bucket that exists, taken as the storage bucket in place; empty: one is made."""
    adopt_bucket_kms_key_arn: str = ""
    """The customer's key that the adopted bucket's objects are encrypted with, if they are."""
    adopt_bucket_store: bool = False
    """Store into the adopted bucket; without, no function may write to it."""
    probe: bool = True
    """Have a deployment fail unless an object that is put is answered, and one that goes is not."""
    probe_hours: int = 24
    """Hours from one probe to the next; 0: only at deployments."""
    search_shards: int = 4
    """Shards of each ordered index over studies; fixed once there is data."""
    ingest_concurrency: int = INGEST_BATCH.functions
    """Functions that ingest at the same time, of those that the account has."""
    ingest_batch: int = INGEST_BATCH.messages
    """Objects that one of them is given at once, where so many wait."""
    warm_write_units: int = 0
    """Write units a second that table and index of UIDs take at once; 0: those of a new table."""
    web_adapter_layer_arn: str = ""
    """A copy of the Lambda Web Adapter layer; empty: the public one of the region."""
    log_retention_days: int = 90
    """Days that logs are kept: the functions', the gateway's and the buckets'."""
    kms: str = "managed"
    """Key of data at rest: the services' own, ``customer`` for one of ours, or a key's ARN."""
    waf: bool = False
    """Put AWS WAF before the gateway."""
    waf_rate: int = 60_000
    """Requests of one address in five minutes above which WAF refuses more."""
    throttle_rate: int = 2_000
    """Requests a second of all callers above which the gateway refuses more."""
    throttle_burst: int = 4_000
    """Requests at once that the gateway takes above that rate."""
    api_log_role: bool = True
    """Make the role by which API Gateway writes logs: one for an account and region."""
    reconcile_hour: int = 2
    """Hour of the day, in UTC, at which the storage area is compared with the index; -1 for never."""
    compare_days: int = 7
    """Days in which every object is compared once; what is recent is compared each day."""
    verify_days: int = 30
    """Days in which every object is read once and compared with its checksum; 0 for never."""

    def __post_init__(self) -> None:
        """Refuse what no deployment can be."""
        if not (self.stage.isascii() and self.stage.isalnum() and len(self.stage) <= 32):
            raise ValueError(f"stage: {self.stage!r} is not 1 to 32 letters and digits")
        if self.architecture not in RUNTIME_ARCHITECTURES:
            raise ValueError(f"architecture: {self.architecture!r} is not arm64 or x86_64")
        if self.authorization not in get_args(Authorization):
            raise ValueError(f"authorization: {self.authorization!r} is not iam, oidc or none")
        self._check_numbers()
        if self.authorization == "oidc":
            self._check_provider()
        self._check_prefix()
        self._check_adoption()
        if self.kms not in ("managed", "customer") and not _KEY_ARN.fullmatch(self.kms):
            raise ValueError(f"kms: {self.kms!r} is not managed, customer or the ARN of a key")
        self._check_origin()
        self._check_sign_in()
        self._check_webhook()
        self._check_replica()
        self._check_load()
        self._check_name()
        if self.alarm_email and "@" not in self.alarm_email:
            raise ValueError(f"alarm_email: {self.alarm_email!r} is no address of mail")
        if self.monthly_budget_usd and not self.alarm_email:
            raise ValueError("monthly_budget_usd: alarm_email says whom to tell of it")
        self._check_company()
        self._check_settings()

    def _check_numbers(self) -> None:
        for name, (lowest, highest) in _RANGES.items():
            if not lowest <= getattr(self, name) <= highest:
                raise ValueError(f"{name}: {getattr(self, name)} is not {lowest} to {highest}")
        if self.log_retention_days not in LOG_RETENTION_DAYS:
            allowed = ", ".join(map(str, LOG_RETENTION_DAYS))
            raise ValueError(f"log_retention_days: {self.log_retention_days} is none of {allowed}")

    def _check_company(self) -> None:
        defaults = {each.name: each.default for each in fields(self)}
        for name, (other, needed) in _ONLY_WITH.items():
            if getattr(self, name) != defaults[name] and getattr(self, other) != needed:
                raise ValueError(
                    f"{name}: does nothing without {other}={str(needed).lower()}; say both or none"
                )

    def _check_settings(self) -> None:
        """Refuse what the functions would refuse when they start."""
        try:
            Settings(
                public_base_url=self.public_base_url,
                allowed_origins=self.allowed_origins,
                search_shards=self.search_shards,
                sign_in_origins=self.sign_in_origins,
            )
            Grants(self.oidc_scopes, roles_claim=self.oidc_roles_claim)
        except ConfigurationError as exc:
            raise ValueError(str(exc)) from exc

    def _check_replica(self) -> None:
        if self.replica_bucket_arn and self.adopt_bucket:
            raise ValueError("replica_bucket_arn: of an adopted bucket its owner makes copies")
        if self.replica_bucket_arn and not self.replica_bucket_arn.startswith("arn:"):
            raise ValueError(f"replica_bucket_arn: {self.replica_bucket_arn!r} is no ARN")
        has_key = self.kms != "managed"
        if self.replica_bucket_arn and has_key != bool(self.replica_kms_key_arn):
            raise ValueError(
                "replica_kms_key_arn: objects under a key of KMS are copied under one, and no others"
            )

    def _check_sign_in(self) -> None:
        if not self.sign_in_client_id:
            return
        if not (self.one_origin and self.authorization == "oidc"):
            raise ValueError(
                "sign_in_client_id: there are no pages, or no provider; see one_origin"
            )
        if self.oidc_clients and self.sign_in_client_id not in self.oidc_clients:
            raise ValueError("sign_in_client_id: it is none of oidc_clients")

    def _check_load(self) -> None:
        if not 2 <= self.ingest_concurrency <= 1_000:
            raise ValueError(f"ingest_concurrency: {self.ingest_concurrency} is not 2 to 1000")
        if not 1 <= self.ingest_batch <= MAX_INGEST_BATCH:
            raise ValueError(f"ingest_batch: {self.ingest_batch} is not 1 to {MAX_INGEST_BATCH}")
        if self.warm_write_units and self.warm_write_units < NEW_TABLE_WRITE_UNITS:
            raise ValueError(
                f"warm_write_units: a new table takes {NEW_TABLE_WRITE_UNITS} without being asked"
            )

    def _check_origin(self) -> None:
        if self.price_class not in get_args(PriceClass):
            raise ValueError(f"price_class: {self.price_class!r} is not 100, 200 or all")
        if any(
            not (each.isalpha() and each.isupper() and len(each) == 2) for each in self.countries
        ):
            raise ValueError(f"countries: {', '.join(self.countries)} are not all two letters")
        if self.one_origin and self.authorization == "iam":
            raise ValueError(
                "one_origin: a signature holds for one host, and CloudFront asks another; "
                "say another authorization than iam"
            )

    def _check_name(self) -> None:
        if bool(self.domain_name) != bool(self.certificate_arn):
            raise ValueError("domain_name: it and certificate_arn need each other")
        if self.hosted_zone_id and not self.domain_name:
            raise ValueError("hosted_zone_id: there is no domain_name to put into it")
        if self.one_origin and self.domain_name and ":us-east-1:" not in self.certificate_arn:
            raise ValueError("certificate_arn: CloudFront takes certificates of us-east-1 alone")

    @property
    def notifies(self) -> bool:
        """Whether somebody outside is told of changes."""
        return bool(self.webhook_url or self.event_bus)

    def _check_webhook(self) -> None:
        if self.webhook_secret_arn and not self.webhook_url:
            raise ValueError("webhook_secret_arn: there is no webhook_url")
        # Whoever is on the way could answer for the receiver.
        if self.webhook_url and not self.webhook_url.startswith("https://"):
            raise ValueError("webhook_url: is not https")
        try:
            Settings(webhook_url=self.webhook_url)
        except ConfigurationError as exc:
            raise ValueError(str(exc)) from exc

    @property
    def has_api_domain(self) -> bool:
        """Whether the gateway itself has the name of one's own."""
        return bool(self.domain_name) and not self.one_origin

    @property
    def origins_of_pages(self) -> tuple[str, ...]:
        """Origins of pages that are sent to the storage bucket for large objects.

        CloudFront gives a name when it is made, after the bucket, so that any of its names counts.
        """
        if not self.one_origin or EVERY_ORIGIN in self.allowed_origins:
            return self.allowed_origins
        own = f"https://{self.domain_name or '*.cloudfront.net'}"
        return (*self.allowed_origins, own)

    @property
    def sign_in(self) -> SignIn | None:
        """How the pages of ``one_origin`` sign people in, if they do."""
        return sign_in_of(
            Settings(
                oidc_issuer=self.oidc_issuer,
                oidc_audience=self.oidc_audience,
                oidc_scopes=self.oidc_scopes,
                sign_in_client_id=self.sign_in_client_id,
                sign_in_scopes=self.sign_in_scopes,
                sign_in_origins=self.sign_in_origins,
            )
        )

    def _check_provider(self) -> None:
        for name in ("oidc_issuer", "oidc_introspection_url"):
            url = getattr(self, name)
            if (url or name == "oidc_issuer") and not _PROVIDER_URL.fullmatch(url):
                raise ValueError(f"{name}: {url!r} is not the https URL of a provider")
        if not self.oidc_audience:
            raise ValueError("oidc_audience: a token for anybody else would count, too")
        if bool(self.oidc_introspection_url) != bool(self.oidc_secret_arn):
            raise ValueError("oidc_introspection_url: needs oidc_secret_arn, and that needs it")
        if not 0 <= self.oidc_cache_seconds <= _MAX_CACHE_SECONDS:
            raise ValueError(f"oidc_cache_seconds: not between 0 and {_MAX_CACHE_SECONDS}")

    def _check_prefix(self) -> None:
        if any(each in self.storage_prefix for each in _OF_POLICIES):
            # Rights would be to more keys than these.
            raise ValueError(
                f"storage_prefix: {self.storage_prefix!r} has a character that means others in "
                f"policies: {' '.join(_OF_POLICIES)}"
            )

    def _check_adoption(self) -> None:
        if self.adopt_bucket and not _BUCKET_NAME.fullmatch(self.adopt_bucket):
            raise ValueError(f"adopt_bucket: {self.adopt_bucket!r} is no name of a bucket")
        key = self.adopt_bucket_kms_key_arn
        if key and not _KEY_ARN.fullmatch(key):
            raise ValueError(f"adopt_bucket_kms_key_arn: {key!r} is not the ARN of a key")
        if not self.adopt_bucket and (key or self.adopt_bucket_store):
            raise ValueError("adopt_bucket_kms_key_arn, adopt_bucket_store: without adopt_bucket")

    @property
    def stores(self) -> bool:
        """Whether clients may store: always into a bucket of ours, into another's if it is said."""
        return self.adopt_bucket_store or not self.adopt_bucket

    @property
    def is_retained(self) -> bool:
        """Whether what holds data outlives its stack."""
        return self.retain or self.stage != "dev"

    @classmethod
    def from_context(cls, get: Callable[[str], Any]) -> Deployment:
        """Read the context; what is not set keeps its default.

        Args:
            get: Gives the value of a key, or nothing.

        Raises:
            ValueError: A value is not what its key takes.
        """
        given = {f.name: (get(f.name), f.default) for f in fields(cls)}
        values: dict[str, Any] = {
            name: _value(name, value, like=default)
            for name, (value, default) in given.items()
            if value is not None
        }
        return cls(**values)


def _value(name: str, value: object, *, like: object) -> object:
    """Read a context value, a text when it comes from the command line."""
    if isinstance(like, bool):
        if str(value).lower() not in ("true", "false"):
            raise ValueError(f"{name}: {value!r} is neither true nor false")
        return str(value).lower() == "true"
    if isinstance(like, int):
        try:
            return int(str(value))
        except ValueError as exc:
            raise ValueError(f"{name}: {value!r} is not a whole number") from exc
    if isinstance(like, tuple):
        parts = value if isinstance(value, list) else str(value).split(",")
        return tuple(str(part).strip() for part in parts if str(part).strip())
    return str(value)


def refuse_misspelt(keys: Iterable[str]) -> None:
    """Refuse keys that are nearly those of options, which would leave these at their defaults.

    Args:
        keys: All of the context's; those of the CDK and of others are none of ours.

    Raises:
        ValueError: One is nearly the name of an option, which it says.
    """
    names = [each.name for each in fields(Deployment)]
    for key in keys:
        like = difflib.get_close_matches(key.lower().replace("-", "_"), names, n=1, cutoff=0.8)
        if key not in names and like:
            raise ValueError(f"{key}: is no option; the nearest is {like[0]}")
