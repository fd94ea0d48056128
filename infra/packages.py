"""The layers as CDK assets, built on this machine without docker."""

from __future__ import annotations

import subprocess
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsii
from aws_cdk import AssetHashType, BundlingOptions, DockerImage, ILocalBundling
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.layers import AUTHORIZATION, CORE, DEPENDENCIES, IMAGING, build_layer, layer_hash

if TYPE_CHECKING:
    from infra.deployment import Deployment
    from infra.layers import Architecture, Layer

RUNTIME = lambda_.Runtime.PYTHON_3_13


@jsii.implements(ILocalBundling)
class _LocalBuild:
    """Builds a layer where synthesis runs."""

    def __init__(self, layer: Layer, architecture: Architecture) -> None:
        self._layer = layer
        self._architecture = architecture

    # jsii passes the options by the names that it finds in the signature.
    def try_bundle(self, output_dir: str, *, image: DockerImage, **_: Any) -> bool:  # noqa: ARG002
        """Build; whatever fails ends synthesis here, since there is no second way."""
        try:
            build_layer(self._layer, Path(output_dir), architecture=self._architecture)
        except subprocess.CalledProcessError as exc:
            sys.stderr.write(f"layer {self._layer.name}: {exc}\n")
            raise
        return True


class Packages(Construct):
    """The layers that functions are made of."""

    def __init__(self, scope: Construct, construct_id: str, *, deployment: Deployment) -> None:
        """Describe the layers; each is built when its content is not there yet."""
        super().__init__(scope, construct_id)
        self._architecture = deployment.architecture
        self.core = self._version(CORE, "The package dicomulus")
        self.dependencies = self._version(DEPENDENCIES, "What the package needs")
        self.imaging = self._version(IMAGING, "What decodes and encodes pixels")

    @cached_property
    def authorization(self) -> lambda_.LayerVersion:
        """What checks bearer tokens; only a deployment that does so has it."""
        return self._version(AUTHORIZATION, "What checks bearer tokens")

    def _version(self, layer: Layer, description: str) -> lambda_.LayerVersion:
        code = lambda_.Code.from_asset(
            str(layer.source if layer.is_source else layer.source.parent),
            asset_hash=layer_hash(layer, architecture=self._architecture),
            asset_hash_type=AssetHashType.CUSTOM,
            bundling=BundlingOptions(
                # Never pulled: the local build gives the content or fails.
                image=DockerImage.from_registry("none"),
                local=_LocalBuild(layer, self._architecture),
            ),
        )
        return lambda_.LayerVersion(
            self,
            layer.name.capitalize(),
            code=code,
            description=description,
            compatible_runtimes=[RUNTIME],
            compatible_architectures=[architecture_of(self._architecture)],
        )


def architecture_of(name: Architecture) -> lambda_.Architecture:
    """Give CDK's value of an architecture."""
    return {"arm64": lambda_.Architecture.ARM_64, "x86_64": lambda_.Architecture.X86_64}[name]
