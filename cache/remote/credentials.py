"""Who asks Amazon's kind of store, and where it is: the environment first, then a profile of `~/.aws`, then the machine's own role.

The client reads the environment and asks the machine by itself, but knows no profiles: those with keys in them are read here.
"""

from __future__ import annotations

import configparser
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from ...errors import UsageError
from .failures import CREDENTIALS, no_credentials

KEYS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
OTHERS = ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
ELSEWHERE = ("sso_session", "sso_start_url", "role_arn", "credential_process")  # settings of profiles without keys
MACHINE = "http://169.254.169.254"
PATIENCE = 1.0  # seconds for a connection inside of a machine


def s3_settings(url: str) -> dict[str, str]:
    """Return the settings of a client that the environment does not give it; refuse where nobody gives credentials."""
    environment = os.environ
    profile = read_profile(environment)
    found = {"endpoint": endpoint} if (endpoint := endpoint_of(environment, profile)) else {}
    if "region" in profile and not (environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")):
        found["region"] = profile["region"]
    if environment.get("AWS_ACCESS_KEY_ID") or environment.get("AWS_SKIP_SIGNATURE", "").lower() in ("true", "1"):
        return found
    if keys := {name.removeprefix("aws_"): profile[name] for name in KEYS if profile.get(name)}:
        return found | {name.replace("session_token", "token"): value for name, value in keys.items()}
    if any(environment.get(name) for name in OTHERS):
        return found
    if chosen := [name for name in ELSEWHERE if name in profile]:
        raise UsageError(
            f"The profile {_name(environment)} of ~/.aws gives its credentials by {chosen[0]}, which est does not read.",
            remedy='eval "$(aws configure export-credentials --format env)", then the same command again',
        )
    if "AWS_PROFILE" in environment and not profile:
        raise UsageError(f"There is no profile {_name(environment)} in ~/.aws.", remedy=CREDENTIALS)
    if not _machine_answers(environment):
        raise no_credentials(url)
    return found


def endpoint_of(environment: Mapping[str, str], profile: Mapping[str, str]) -> str:
    """Return where the store is; empty for Amazon's own."""
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    return next((environment[name] for name in names if environment.get(name)), profile.get("endpoint_url", ""))


def read_profile(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of a profile, those of the file of credentials before those of the other."""
    home, name = Path.home() / ".aws", _name(environment)
    files = (
        (environment.get("AWS_CONFIG_FILE") or home / "config", name if name == "default" else f"profile {name}"),
        (environment.get("AWS_SHARED_CREDENTIALS_FILE") or home / "credentials", name),
    )
    found: dict[str, str] = {}
    for file, section in files:
        parser = configparser.RawConfigParser()
        try:
            parser.read(file, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError, PermissionError) as error:
            raise UsageError(
                f"{file} cannot be read as a file of profiles.", remedy="fix it, or keys by the environment"
            ) from error
        if parser.has_section(section):
            found |= dict(parser.items(section))
    return found


def _name(environment: Mapping[str, str]) -> str:
    return environment.get("AWS_PROFILE") or "default"


def _machine_answers(environment: Mapping[str, str]) -> bool:
    """Say whether this is a machine of a cloud, which gives the credentials of its role; the client would wait long for one."""
    place = urlsplit(environment.get("AWS_METADATA_ENDPOINT") or MACHINE)
    try:
        socket.create_connection((place.hostname or "", place.port or 80), PATIENCE).close()
    except OSError:
        return False
    return True
