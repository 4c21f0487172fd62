"""What a store answers when it does not give what was asked for, as sentences with the command that fixes it."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from contextlib import contextmanager

from ...errors import EstError

CREDENTIALS = "credentials by the environment or by `aws configure`, as docs/stores.md lists them"
EXTRA = "pip install 'est-fer[stores]'"
METADATA = ("169.254.169.254", "169.254.170.2", "metadata.google.internal", "token request", "latest/api/token")
THROTTLED = re.compile(r"status code: (?:429|503)|SlowDown|TooManyRequests")
EXPIRED = re.compile(r"ExpiredToken|TokenRefreshRequired|RequestExpired")
WRONG_KEY = re.compile(r"InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken")
CLOCK = re.compile(r"RequestTimeTooSkewed")
REGION = re.compile(r"redirect without LOCATION|PermanentRedirect|AuthorizationHeaderMalformed|BareRedirect")
CUT = re.compile(r"body error|IncompleteMessage|connection closed", re.IGNORECASE)  # after the answer has begun


class StoreError(EstError):
    """An object store that does not answer, refuses, or lacks what was asked for."""


class NotThere(StoreError):
    """An object that is not there."""


class NoBucket(NotThere):
    """A bucket that is not there."""


class CutOff(StoreError):
    """A connection that was lost while an answer was on its way."""


_forks = {"watched": False, "forked": False}  # of this process


def watch_forks() -> None:
    """Note when this process is forked: the client's threads are not in the child, which would wait for them for ever."""
    if not _forks["watched"]:
        _forks["watched"] = True
        os.register_at_fork(after_in_child=lambda: _forks.update(forked=True))


@contextmanager
def asking(url: str) -> Generator[None]:
    """Turn what the client raises into a sentence."""
    from obstore import exceptions

    if _forks["forked"]:
        raise StoreError(
            f"{url} cannot be read in a process that was forked from one that has read from an object store.",
            remedy='multiprocessing.get_context("spawn"); or read the rows before the fork',
        )
    try:
        yield
    except FileNotFoundError as error:
        raise _not_there(url, str(error)) from error
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise _refused(url, str(error)) from error
    except exceptions.UnknownConfigurationKeyError as error:
        raise StoreError("This obstore is too old for est.", remedy=f"{EXTRA} --upgrade") from error
    except exceptions.BaseError as error:
        raise _failed(url, str(error)) from error


def no_credentials(url: str) -> StoreError:
    """Say that nothing names who asks."""
    return StoreError(
        f"There are no credentials for {url}: none in the environment, none in a profile, and no machine that gives them.",
        remedy=f"{CREDENTIALS}; for a bucket that everybody may read {anonymous(url)}",
    )


def anonymous(url: str) -> str:
    """Return what asks without credentials."""
    return "GOOGLE_SKIP_SIGNATURE=true" if url.startswith("gs:") else "AWS_SKIP_SIGNATURE=true"


def _not_there(url: str, text: str) -> StoreError:
    if "NoSuchBucket" in text:
        return NoBucket(
            f"There is no bucket of that name for {url}.",
            remedy="check the name; AWS_ENDPOINT_URL, where the store is not Amazon's",
        )
    return NotThere(f"{url} is not there.", remedy="check the URL")


def _refused(url: str, text: str) -> StoreError:
    if EXPIRED.search(text):
        return _expired(url)
    if CLOCK.search(text):
        return StoreError(f"The store refuses {url}: this machine's clock is wrong by minutes.", remedy="set the clock")
    if WRONG_KEY.search(text):
        return StoreError(f"The store does not know the credentials for {url}.", remedy=CREDENTIALS)
    if url.startswith("http"):
        return StoreError(
            f"The server refuses {url}; some say so of what is not there.",
            remedy="check the URL, and that everybody may read it: est sends no credentials over https",
        )
    return StoreError(
        f"The store refuses {url}: these credentials may not do that. Some stores say so of what is not there.",
        remedy=f"check the URL and the rights; {CREDENTIALS}",
    )


def _expired(url: str) -> StoreError:
    return StoreError(f"The credentials for {url} have expired.", remedy="log in again, then the same command again")


def _failed(url: str, text: str) -> StoreError:
    if EXPIRED.search(text):
        return _expired(url)
    if "NoSuchBucket" in text:
        return _not_there(url, text)
    if any(word in text for word in METADATA):
        return no_credentials(url)
    if THROTTLED.search(text):
        return StoreError(
            f"The store of {url} takes no more requests for now, and stayed so while est waited and asked again.",
            remedy="the same command again later: what has arrived is kept",
        )
    if REGION.search(text):
        return StoreError(f"The bucket of {url} is in another region than was asked.", remedy="AWS_REGION=REGION")
    if CUT.search(text):
        return CutOff(
            f"The connection to {url} was lost again and again while data was on its way.",
            remedy="check the network, then the same command again: what has arrived is kept",
        )
    return StoreError(f"{url} cannot be reached.", remedy="check the network and the URL, then the same command again")
