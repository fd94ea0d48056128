"""What an archive is used for: one's own figures."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from dicomulus.cli.cost.prices import read_table
from dicomulus.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

StorageClass = Literal["standard", "intelligent", "instant"]
Authorization = Literal["iam", "oidc", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A month of an archive that is as full as it gets. A field is the name it is given by."""

    studies: float = 1_000
    """Studies that come in a month."""
    series: float = 4
    """Series of a study."""
    instances: float = 450
    """Instances of a series, each of one frame."""
    instance_bytes: float = 531_000
    """Bytes of an object; 531,000 are a CT image of 512 x 512 without compression."""
    months: float = 12
    """Months that a study is kept."""
    views: float = 2
    """Times that a study is opened, all in its first month."""
    viewed_share: float = 0.5
    """Share of a study's frames that is fetched when it is opened."""
    lists: float = 2
    """Pages of the study list that are asked for with each opening."""
    batch: float = 8
    """Instances that ingest gets at once: 32 at most, fewer where they come slowly."""
    compactions: float = 2
    """Times that a series is compacted: once more for each five seconds that it takes to come."""
    reconciles: float = 30
    """Times a month that a share of the storage area is compared with the index."""
    compare_days: float = 7
    """Of these times so many are needed to compare everything once."""
    verifications: float = 1
    """Times a month that every object is read once and compared with its checksum."""
    canonical_keys: bool = False
    """The keys name their instances, as those that STOW-RS and uploads write."""
    adopted: bool = False
    """The bucket was there before, and tells of its changes through EventBridge."""
    storage_class: StorageClass = "standard"
    """Class of the objects; ``instant`` moves them to Glacier Instant Retrieval after a month."""
    cloudfront: bool = False
    """Viewer and API come from one CloudFront distribution."""
    cross_origin: bool = False
    """Pages of another origin ask, so that each new URL takes a preflight."""
    authorization: Authorization = "iam"
    """With ``oidc``, a function looks at the token of every request."""
    kms: bool = False
    """A customer's KMS key encrypts; buckets have a bucket key."""
    waf: bool = False
    """A web ACL of three rules stands before the API."""
    cold_share: float = 0.01
    """Share of invocations that start a function anew."""

    def __post_init__(self) -> None:
        """Refuse what no archive does."""
        for each in fields(self):
            _check(each.name, getattr(self, each.name), like=each.default)
        if self.storage_class not in get_args(StorageClass):
            raise ConfigurationError(
                f"storage_class: {self.storage_class!r} is not one of "
                + ", ".join(get_args(StorageClass))
            )
        if self.authorization not in get_args(Authorization):
            raise ConfigurationError(
                f"authorization: {self.authorization!r} is not one of "
                + ", ".join(get_args(Authorization))
            )

    @property
    def instances_a_month(self) -> float:
        """Instances that come in a month."""
        return self.studies * self.series * self.instances

    @property
    def bytes_a_month(self) -> float:
        """Bytes of objects that come in a month."""
        return self.instances_a_month * self.instance_bytes


def _check(name: str, value: object, *, like: object) -> None:
    if isinstance(like, bool):
        if not isinstance(value, bool):
            raise ConfigurationError(f"{name}: {value!r} is neither true nor false")
    elif isinstance(like, int | float):
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            raise ConfigurationError(f"{name}: {value!r} is no number from 0 on")
        if name.endswith("_share") and value > 1:
            raise ConfigurationError(f"{name}: {value!r} is more than 1")
        if name in ("batch", "compare_days") and value < 1:
            raise ConfigurationError(f"{name}: less than 1 comes to nothing")


def workload_of(given: Mapping[str, Any]) -> Workload:
    """Give the workload of some names and values; others keep their defaults.

    Raises:
        ConfigurationError: A name or a value is none of a workload.
    """
    known = {each.name for each in fields(Workload)}
    for name in given:
        if name not in known:
            raise ConfigurationError(f"{name} is none of {', '.join(sorted(known))}")
    return replace(Workload(), **given)


def read_workload(path: Path) -> Workload:
    """Read one's own figures from a JSON or TOML file.

    Raises:
        ConfigurationError: It cannot be read, or says what no workload is.
    """
    try:
        return workload_of(read_table(path))
    except ConfigurationError as exc:
        if str(path) in str(exc):
            raise
        raise ConfigurationError(f"{path}: {exc}") from exc


CT: Final = Workload()
"""CT studies of four series of 450 images."""

CLINIC: Final = Workload(
    series=5, instances=40, instance_bytes=900_000, views=3, viewed_share=0.8, batch=4
)
"""What comes on average where radiographs, ultrasound, MR and CT come together."""

MODELS: Final = {"ct": CT, "clinic": CLINIC}
