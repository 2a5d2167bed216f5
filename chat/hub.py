"""Datasets of the Hugging Face Hub to read and write.

Errors of `huggingface_hub` stop here; out comes the family of `RepoError`, with a sentence for the page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from urllib.parse import quote

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    DatasetInfo,
    HfApi,
    get_session,
    set_client_factory,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import hf_raise_for_status
from huggingface_hub.utils import httpx as transport
from huggingface_hub.utils._http import default_client_factory, parse_ratelimit_headers

from chat.dataset_repo import Conflict, Denied, Doubtful, TooMany, Unreachable, Visibility


def limit_time(seconds: float) -> None:
    """Give up, in this whole process, on a Hub that is silent for so long. The library itself would wait for ever."""

    def factory() -> transport.Client:
        client = default_client_factory()
        client.timeout = transport.Timeout(seconds, connect=min(seconds, 10.0))
        return client

    set_client_factory(factory)


class HubRepo:
    """A dataset of the Hub at `endpoint`, as `chat.dataset_repo.DatasetRepo` describes it.

    Construct it after `limit_time`; where nobody called that, it is a minute. Safe to call from several threads.
    """

    def __init__(self, endpoint: str, token: str, repo_id: str) -> None:
        self.id = repo_id
        self._endpoint = endpoint
        self._api = HfApi(endpoint=endpoint, token=token)
        self._headers = {"authorization": f"Bearer {token}"}
        if get_session().timeout.read is None:
            limit_time(60.0)

    def head(self) -> str | None:
        info = self._info()
        return info.sha if info else None

    def files(self, prefix: str, revision: str) -> dict[str, str]:
        folder = prefix.rpartition("/")[0]
        with self._translated():
            try:
                tree = self._api.list_repo_tree(
                    self.id, folder or None, recursive=True, revision=revision, repo_type="dataset"
                )
                return {
                    item.path: item.blob_id
                    for item in tree
                    if hasattr(item, "blob_id") and item.path.startswith(prefix)
                }
            except EntryNotFoundError:
                return {}

    def paths(self, prefix: str, revision: str) -> list[str]:
        return sorted(self.files(prefix, revision))

    def read(self, path: str, revision: str) -> bytes:
        # By the id of a commit and past every cache: asked by name, the library may answer with an old copy of its own.
        with self._translated():
            url = f"{self._endpoint}/datasets/{self.id}/resolve/{revision}/{quote(path)}"
            response = get_session().get(url, headers=self._headers)
            try:
                hf_raise_for_status(response)
            except EntryNotFoundError:
                raise KeyError(path) from None
            return response.content

    def commit(self, add: Mapping[str, bytes], delete: Sequence[str], parent: str | None, message: str) -> str:
        operations = [CommitOperationAdd(path, content) for path, content in add.items()]
        operations += [CommitOperationDelete(path, is_folder=False) for path in delete if path not in add]
        with self._translated(writing=True):
            try:
                done = self._api.create_commit(
                    self.id, operations, commit_message=message, repo_type="dataset", parent_commit=parent
                )
            except EntryNotFoundError:
                raise Conflict(f"A file to delete is no longer in {self.id}.") from None
            # Where nothing would change the library sends nothing and returns the head, which may be anybody's commit.
            sent = any(getattr(operation, "_is_committed", True) for operation in operations)
            if not sent and parent not in (None, done.oid):
                raise Conflict(f"Somebody else wrote to {self.id}.")
            return done.oid

    def create(self, card: str, private: bool = True) -> str:
        with self._translated(writing=True):
            try:
                self._api.create_repo(self.id, repo_type="dataset", private=private)
            except HfHubHTTPError as error:
                if _status(error) != 409:
                    raise
        head = self.head()
        if head is None:
            raise Denied(f"The Hub has {self.id} already, but HF_TOKEN may not see it. Choose another name for it.")
        if "README.md" in self.files("README.md", head):
            return head
        return self.commit({"README.md": card.encode()}, (), head, "Describe this dataset")

    def visibility(self) -> Visibility | None:
        info = self._info()
        if info is None:
            return None
        # A gate that opens by itself ("auto") keeps nobody out.
        return "private" if info.private else "gated" if info.gated == "manual" else "public"

    def owned(self) -> bool:
        with self._translated():
            me = self._api.whoami()
            return self.id.partition("/")[0] in {me.get("name"), *(org.get("name") for org in me.get("orgs") or ())}

    def squash(self, message: str) -> str:
        with self._translated(writing=True):
            self._api.super_squash_history(self.id, commit_message=message, repo_type="dataset")
        head = self.head()
        if head is None:
            raise Denied(f"{self.id} is gone from the Hub.")
        return head

    def purge(self) -> None:
        with self._translated(writing=True):
            refs = self._api.list_repo_refs(self.id, repo_type="dataset", include_pull_requests=True)
            for branch in refs.branches:
                if branch.name != "main":
                    self._api.delete_branch(self.id, branch=branch.name, repo_type="dataset")
            for tag in refs.tags:
                self._api.delete_tag(self.id, tag=tag.name, repo_type="dataset")
            tree = self._api.list_repo_tree(self.id, recursive=True, repo_type="dataset")
            named = {item.lfs.sha256 for item in tree if getattr(item, "lfs", None)}
            left = [
                file for file in self._api.list_lfs_files(self.id, repo_type="dataset") if file.file_oid not in named
            ]
            if left:
                self._api.permanently_delete_lfs_files(self.id, left, repo_type="dataset")
            kept = [ref.ref for ref in (*refs.converts, *(refs.pull_requests or ())) if not self._deleted(ref.ref)]
        if kept:
            raise Denied(
                f"{', '.join(kept)} of {self.id} may still hold what was deleted, and cannot be removed by this app. Delete "
                "what they belong to (pull requests, the viewer's conversion) on the dataset's page, or ask the Hub to."
            )

    def _deleted(self, ref: str) -> bool:
        """Delete a reference that is no branch or tag, where the Hub lets anybody."""
        try:
            self._api.delete_branch(self.id, branch=ref, repo_type="dataset")
        except HfHubHTTPError as error:
            if (_status(error) or 500) >= 500:
                raise
            return False
        return True

    def _info(self) -> DatasetInfo | None:
        with self._translated():
            try:
                info = self._api.dataset_info(self.id, expand=["sha", "private", "gated"], timeout=10.0)
                if info.sha is None or info.private is None:
                    raise ValueError("no answer of a Hub")
                return info
            except KeyError:
                raise ValueError("no answer of a Hub") from None
            except GatedRepoError:
                raise
            except RepositoryNotFoundError as error:
                # The Hub says 404 of a repository that is not there or not to be seen, 401 of a token that is none.
                if _status(error) == 404:
                    return None
                raise

    @contextmanager
    def _translated(self, writing: bool = False) -> Iterator[None]:
        """Turn what the library raises into the family of `RepoError`. `writing`: a lost answer may hide a success."""
        lost = Doubtful if writing else Unreachable
        try:
            yield
        except (RevisionNotFoundError, EntryNotFoundError):
            raise Conflict(f"This version of {self.id} is gone: its history was rewritten.") from None
        except HFValidationError:
            raise Denied(f"{self.id!r} cannot be a dataset of the Hub. Use namespace/name.") from None
        except HfHubHTTPError as error:
            raise self._refusal(error, lost) from None
        except (transport.ConnectError, transport.ConnectTimeout, transport.UnsupportedProtocol, transport.InvalidURL):
            raise Unreachable(
                f"The Hub at {self._endpoint} cannot be reached. Check the network and HF_ENDPOINT."
            ) from None
        except (transport.TimeoutException, TimeoutError):
            raise lost(f"The Hub at {self._endpoint} takes too long to answer.") from None
        except (transport.HTTPError, OSError):
            raise lost(f"The connection to the Hub at {self._endpoint} broke off. Check the network.") from None
        except (ValueError, TypeError, RuntimeError, AttributeError):
            raise lost(f"What {self._endpoint} answers is not what a Hub says. Check HF_ENDPOINT.") from None

    def _refusal(self, error: HfHubHTTPError, lost: type[Doubtful | Unreachable]) -> Exception:
        status, namespace = _status(error), self.id.partition("/")[0]
        if status in (409, 412):
            return Conflict(f"Somebody else wrote to {self.id}.")
        if status == 401:
            return Denied(
                f"The Hub at {self._endpoint} does not accept HF_TOKEN: it is wrong, expired or revoked. "
                f"Set HF_TOKEN to a token that may write to {self.id}."
            )
        if status == 403:
            return Denied(
                f"HF_TOKEN may not write to {self.id}. Set it to a token with the write role of an account that may "
                f"write in {namespace}, or choose a dataset of your own."
            )
        if isinstance(error, RepositoryNotFoundError):
            return Denied(f"The Hub has no dataset {self.id} any more, or HF_TOKEN may not see it.")
        if status == 429:
            return TooMany(
                f"The Hub at {self._endpoint} asks for fewer requests or commits of this account; this goes on by itself. If "
                "it happens often, raise SYNC_SECONDS or give the app an account of its own.",
                _asked_to_wait(error),
            )
        if status is not None and status < 500:
            return Denied(f"{self._endpoint} answered {status}, as a Hub does not. Check HF_ENDPOINT.")
        return lost(f"The Hub at {self._endpoint} has trouble of its own ({status or 'no status'}). It is asked again.")


def _status(error: HfHubHTTPError) -> int | None:
    return error.response.status_code if error.response is not None else None


def _asked_to_wait(error: HfHubHTTPError) -> float | None:
    """Seconds, from the headers `Retry-After` or `RateLimit`; None where there is neither."""
    headers = error.response.headers
    limits = parse_ratelimit_headers(headers)
    if limits is not None and limits.remaining == 0:
        return float(limits.reset_in_seconds)
    after = headers.get("retry-after", "")
    return float(after) if after.isdigit() else None
