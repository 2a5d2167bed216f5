"""Datasets of the Hugging Face Hub to read and write.

Errors of `huggingface_hub` stop here; out comes the family of `RepoError`, with a sentence for the page.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from urllib.parse import quote

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    DatasetInfo,
    HfApi,
    get_session,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import hf_raise_for_status

from chat.dataset_repo import Conflict, Denied, Visibility
from chat.hub_client import Errors, limited, status_of


class HubRepo:
    """A dataset of the Hub at `endpoint`, as `chat.dataset_repo.DatasetRepo` describes it.

    Construct it after `limit_time`, if at all. Safe to call from several threads. `caller`: how whatever is asked to be
    changed names itself to the Hub, a part of `User-Agent`.
    """

    def __init__(self, endpoint: str, token: str, repo_id: str, caller: str | None = None) -> None:
        self.id = repo_id
        self._endpoint = endpoint
        self._api = HfApi(endpoint=endpoint, token=token, user_agent=caller)
        self._headers = {"authorization": f"Bearer {token}"}
        self._errors = Errors(repo_id, endpoint, "dataset")
        limited()

    def head(self) -> str | None:
        info = self._info()
        return info.sha if info else None

    def files(self, prefix: str, revision: str) -> dict[str, str]:
        folder = prefix.rpartition("/")[0]
        with self._errors.translated():
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
        with self._errors.translated():
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
        with self._errors.translated(writing=True):
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
        with self._errors.translated(writing=True):
            try:
                self._api.create_repo(self.id, repo_type="dataset", private=private)
            except HfHubHTTPError as error:
                if status_of(error) != 409:
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
        with self._errors.translated():
            me = self._api.whoami()
            return self.id.partition("/")[0] in {me.get("name"), *(org.get("name") for org in me.get("orgs") or ())}

    def squash(self, message: str) -> str:
        with self._errors.translated(writing=True):
            self._api.super_squash_history(self.id, commit_message=message, repo_type="dataset")
        head = self.head()
        if head is None:
            raise Denied(f"{self.id} is gone from the Hub.")
        return head

    def purge(self) -> None:
        with self._errors.translated(writing=True):
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

    def history(self) -> list[str]:
        with self._errors.translated():
            refs = self._api.list_repo_refs(self.id, repo_type="dataset", include_pull_requests=True)
            named = (*refs.branches, *refs.tags, *refs.converts, *(refs.pull_requests or ()))
            found: dict[str, None] = {}
            for ref in named:
                for commit in self._api.list_repo_commits(self.id, repo_type="dataset", revision=ref.ref):
                    found.setdefault(commit.commit_id)
            return list(found)

    def readers(self) -> set[str] | None:
        with self._errors.translated():
            info = self._info()
            if info is None or not info.gated:
                return None
            return {
                request.username for request in self._api.list_accepted_access_requests(self.id, repo_type="dataset")
            }

    def accept(self, names: Collection[str]) -> None:
        with self._errors.translated(writing=True):
            for request in list(self._api.list_pending_access_requests(self.id, repo_type="dataset")):
                if request.username.lower() in names:
                    try:
                        self._api.accept_access_request(self.id, request.username, repo_type="dataset")
                    except HfHubHTTPError as error:
                        if status_of(error) != 404:  # answered by somebody else, or taken back
                            raise

    def announce(self, title: str, text: str) -> None:
        with self._errors.translated(writing=True):
            found = self._api.get_repo_discussions(self.id, repo_type="dataset", discussion_type="discussion")
            if not any(discussion.title == title for discussion in found):
                self._api.create_discussion(self.id, title, description=text, repo_type="dataset")

    def _deleted(self, ref: str) -> bool:
        """Delete a reference that is no branch or tag, where the Hub lets anybody."""
        try:
            self._api.delete_branch(self.id, branch=ref, repo_type="dataset")
        except HfHubHTTPError as error:
            if (status_of(error) or 500) >= 500:
                raise
            return False
        return True

    def _info(self) -> DatasetInfo | None:
        with self._errors.translated():
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
                if status_of(error) == 404:
                    return None
                raise
