"""The hub of Hugging Face by its own library, the extra `hub`; what it raises becomes a message with the command that fixes it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from ..errors import UsageError
from ..packages import expect_packages
from .client import HubError, Kind, Listing, RemoteFile

TOKEN = "hf auth login, or HF_TOKEN=… with a token that may do this"
OF_THE_NETWORK = (
    "httpx",
    "httpx2",
    "httpcore",
    "httpcore2",
    "requests",
    "urllib3",
)  # whose errors the library passes on


class HuggingFace:
    """The hub; `endpoint` is another server's address, for tests and mirrors."""

    def __init__(self, endpoint: str | None = None) -> None:
        self._library = _library()
        self._endpoint = endpoint
        self._api = self._library.HfApi(endpoint=endpoint)

    def listing(self, repo: str, kind: Kind, revision: str) -> Listing:
        """Resolve a revision and list its files, with the digests that the hub keeps."""
        with self._asking(repo, revision):
            found = self._api.repo_info(repo, repo_type=kind, revision=revision or None, files_metadata=True)
        files = {
            one.rfilename: RemoteFile(
                size=one.size,
                sha256=one.lfs.sha256 if one.lfs else "",
                git_blob="" if one.lfs else one.blob_id or "",
            )
            for one in found.siblings or ()
        }
        return Listing(commit=found.sha or "", files=files)

    def cached(self, repo: str, kind: Kind, commit: str, file: str, folder: Path | None) -> Path | None:
        """Return a file of the library's cache."""
        found = self._library.try_to_load_from_cache(repo, file, cache_dir=folder, revision=commit, repo_type=kind)
        return Path(found) if isinstance(found, str) else None

    def download(self, repo: str, kind: Kind, commit: str, file: str, folder: Path | None) -> Path:
        """Download a file into the library's cache."""
        self._library.utils.disable_progress_bars()
        with self._asking(repo, commit):
            found = self._library.hf_hub_download(
                repo, file, repo_type=kind, revision=commit, cache_dir=folder, endpoint=self._endpoint
            )
        return Path(found)

    def is_public(self, repo: str, kind: Kind) -> bool | None:
        """Return whether everybody can read a repository; None where there is none that this token can see."""
        try:
            with self._asking(repo, ""):
                return not self._api.repo_info(repo, repo_type=kind).private
        except HubError as error:
            if isinstance(error.__cause__, self._library.errors.RepositoryNotFoundError):
                return None
            raise

    def create(self, repo: str, kind: Kind, *, private: bool) -> None:
        """Make a repository; one that is there stays as it is."""
        with self._asking(repo, ""):
            self._api.create_repo(repo, repo_type=kind, private=private, exist_ok=True)

    def upload(self, repo: str, kind: Kind, folder: Path, message: str) -> str:
        """Upload the files of a folder as one commit."""
        self._library.utils.disable_progress_bars()
        with self._asking(repo, ""):
            found = self._api.upload_folder(repo_id=repo, repo_type=kind, folder_path=folder, commit_message=message)
        return found.oid

    @contextmanager
    def _asking(self, repo: str, revision: str) -> Generator[None]:
        """Turn what the library raises into a sentence."""
        errors = self._library.errors
        try:
            yield
        except errors.GatedRepoError as error:
            raise HubError(
                f"{repo} is open only to users whom its owners have approved.",
                remedy=f"ask for access on its page, then {TOKEN}",
            ) from error
        except errors.LocalTokenNotFoundError as error:
            raise HubError("The hub needs a token, and none is set.", remedy=TOKEN) from error
        except errors.RepositoryNotFoundError as error:
            raise HubError(
                f"The hub has no {repo}, or shows it only with a token that has access.",
                remedy=f"check the name; {TOKEN}",
            ) from error
        except (errors.RevisionNotFoundError, errors.RevisionResolutionError) as error:
            raise HubError(
                f"{repo} has no revision {revision or 'main'}.", remedy=f"hub:{repo}, or @ with a branch, tag or commit"
            ) from error
        except errors.EntryNotFoundError as error:
            raise HubError(f"{repo} lacks a file: {_line(error)}", remedy="another @REVISION") from error
        except errors.HFValidationError as error:
            raise HubError(f"{repo} is not a valid name on the hub: {_line(error)}", remedy="hub:ORG/NAME") from error
        except errors.HfHubHTTPError as error:
            status = getattr(error.response, "status_code", None)
            if status in (401, 403):
                raise HubError(f"The hub refuses this for {repo}: {_line(error)}", remedy=TOKEN) from error
            raise HubError(f"The hub answers for {repo}: {_line(error)}", remedy="try again later") from error
        except Exception as error:
            if not isinstance(error, OSError) and type(error).__module__.partition(".")[0] not in OF_THE_NETWORK:
                raise
            raise HubError(
                f"The hub cannot be reached for {repo}: {_line(error)}",
                remedy="check the network, then run the same command again",
            ) from error


def _library() -> ModuleType:
    need = "A name that begins with hub: needs the package huggingface-hub"
    expect_packages(need, "huggingface_hub", install="'est-fer[hub]'", kind=UsageError)
    import huggingface_hub
    import huggingface_hub.errors
    import huggingface_hub.utils

    return huggingface_hub


def _line(error: Exception) -> str:
    """Return the first line of what an error says."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
