"""docs/deployment.md, followed as far as it goes without an account."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from infra.deployment import Deployment
from infra.layers import ROOT

TEXT = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")

# Continued lines are one; so are the commands within a sentence.
COMMANDS = [
    command
    for text in (TEXT, OPERATIONS)
    for command in (
        *(
            line
            for block in re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
            for line in block.replace("\\\n", " ").splitlines()
        ),
        *re.findall(r"`([^`\n]*-c \w+=[^`\n]*)`", text),
    )
    if re.search(r"-c \w+=", command)
]

OFFLINE = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH")


def options_of(command: str) -> dict[str, str]:
    """Give the options that a command asks for."""
    return dict(re.findall(r"-c (\w+)=(\S+)", command))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_an_example_is_one(command: str) -> None:
    known = {field.name for field in fields(Deployment)}
    assert set(options_of(command)) <= known
    if command.startswith("cdk"):
        Deployment.from_context(options_of(command).get)


def test_there_are_examples() -> None:
    assert {"one_origin", "stage", "authorization"} <= {
        name for command in COMMANDS for name in options_of(command)
    }


def test_every_default_is_the_one_that_is_told() -> None:
    section = TEXT.split("## What one can ask for")[1].split("\n## ")[0]
    told = dict(re.findall(r"^\| `(\w+)` \| ([^|]*?) \|", section, re.MULTILINE))
    for field in fields(Deployment):
        if re.fullmatch(r"`[^`]*`", told[field.name]):
            default = field.default
            text = ",".join(default) if isinstance(default, tuple) else str(default)
            text = text.lower() if isinstance(default, bool) else text
            assert told[field.name].strip("`") == text, field.name
        else:
            assert field.default in ("", (), 0), field.name


@pytest.fixture(scope="session")
def cdk(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The CDK's command, as npm has it."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("Node and npm are not on the PATH, and the CDK's command is npm's")
    pytest.importorskip("aws_cdk", reason="the CDK is not installed: make infra installs it")
    folder = tmp_path_factory.mktemp("cdk")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(Path(__file__).parent / "node" / name, folder)
    done = subprocess.run(
        [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode and any(code in done.stderr for code in OFFLINE):
        pytest.skip("npm reaches no registry")
    assert done.returncode == 0, done.stderr
    return str(folder / "node_modules" / ".bin" / "cdk")


def run(cdk: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the CDK's command over the app, without an account, docker, or a place for telemetry."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    told = {
        "CDK_DISABLE_CLI_TELEMETRY": "true",
        "CDK_DOCKER": "/nonexistent/docker",
        "HOME": str(folder),
        "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "20",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    return subprocess.run(
        [
            cdk,
            "--no-notices",
            "--app",
            f"{sys.executable} -m infra.app",
            "--output",
            str(folder / "out"),
            *arguments,
        ],
        cwd=ROOT,
        env=kept | told,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_the_cdks_command_finds_both_stacks_and_warns_of_nothing(cdk: str, tmp_path: Path) -> None:
    options = {
        "stage": "prod",
        "authorization": "none",
        "one_origin": "true",
        "viewer": "false",
        "waf": "true",
        "kms": "customer",
        "alarm_email": "operator@example.org",
        "monthly_budget_usd": "50",
    }
    given = [part for pair in options.items() for part in ("-c", "=".join(pair))]
    done = run(cdk, tmp_path, "ls", *given)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["Dicomulus-prod-Stateful", "Dicomulus-prod-Service"]
    assert "WARNING" not in done.stdout + done.stderr


def test_the_cdks_command_says_what_cannot_be_deployed(cdk: str, tmp_path: Path) -> None:
    done = run(cdk, tmp_path, "ls", "-c", "stage=a-b")
    assert done.returncode != 0
    assert "deployment: stage: 'a-b' is not 1 to 32 letters and digits" in done.stderr
    assert "Traceback" not in done.stderr
