"""The Hugging Face Hub: what a model's repository says about itself, and datasets to read and write.

Errors of `huggingface_hub` stop here; out come `LookupFailed` and the family of `RepoError`, with a sentence for the page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    DatasetInfo,
    HfApi,
    ModelInfo,
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
from huggingface_hub.utils._http import default_client_factory

from chat.conversation import SamplingParams
from chat.dataset_repo import Conflict, Denied, Doubtful, Unreachable, Visibility
from chat.models.catalog import ASSUMED_CONTEXT, LookupFailed, ModelEntry, answer_that_fits
from chat.models.catalog_file import GIB, LANGUAGE

# Bytes in memory per parameter. vLLM loads 32-bit weights as 16-bit ones.
_BYTES = {"F64": 2, "F32": 2, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1, "F4": 0.5}
_WANTED_CONTEXT = 8192  # tokens that get room in any case, if the model can read as many
_GPU_FROM_GIB = 8.0  # above this a CPU writes more slowly than people read
_LARGEST_FILE = 1_000_000  # characters of a config or card that are read
_LONGEST_DESCRIPTION = 300  # characters
_WORDS_OF_MARKUP = re.compile(r"!\[[^\]]*\]\([^)]*\)|<[^>]+>|[*_`]{1,3}(?=\S)|(?<=\S)[*_`]{1,3}")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


class ModelLookup:
    """Makes catalogue entries from repositories of the Hub at `endpoint`.

    `token` (None: none, also where this machine has one saved). `timeout`: seconds that the Hub may stay silent in
    one request; there are three at most. Safe to call from several threads.
    """

    def __init__(self, endpoint: str, token: str | None, timeout: float = 5.0) -> None:
        self._endpoint = endpoint
        self._api = HfApi(endpoint=endpoint, token=token or False)
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        self._timeout = timeout

    def __call__(self, repo: str, revision: str | None = None) -> ModelEntry:
        """The entry of `repo` at `revision`. What its author gates is listed as such. Raises `LookupFailed`."""
        try:
            info = self._api.model_info(repo, revision=revision, timeout=self._timeout)
            try:
                config = json.loads(self._file(info, "config.json"))
                card = self._file(info, "README.md")
            except GatedRepoError:
                return _entry(info, revision, {}, "", self._endpoint, locked=True)
            return _entry(info, revision, config if isinstance(config, dict) else {}, card, self._endpoint)
        except RevisionNotFoundError:
            raise LookupFailed(
                f"The Hub has {repo}, but not its revision {revision!r}. Correct it in MODELS."
            ) from None
        except GatedRepoError:
            raise LookupFailed(_gated(repo, self._endpoint)) from None
        except RepositoryNotFoundError:
            raise LookupFailed(
                f"The Hub has no repository {repo}, or it is private. Correct it in MODELS, or set an HF_TOKEN "
                "that may read it."
            ) from None
        except HFValidationError:
            raise LookupFailed(f"{repo!r} cannot be a repository of the Hub. Correct it in MODELS.") from None
        except HfHubHTTPError as error:
            status = error.response.status_code if error.response is not None else "an error"
            raise LookupFailed(f"The Hub at {self._endpoint} answered {status}. Restart to ask again.") from None
        except (transport.TransportError, transport.InvalidURL, ConnectionError, TimeoutError):
            raise LookupFailed(
                f"The Hub at {self._endpoint} could not be reached. Check the network and HF_ENDPOINT, then restart."
            ) from None
        except (ValueError, TypeError, KeyError, RuntimeError):
            raise LookupFailed(
                f"What {self._endpoint} says about {repo} is not what a Hub says. Check HF_ENDPOINT."
            ) from None

    def _file(self, info: ModelInfo, name: str) -> str:
        """The text of a file, read at the commit that `info` is of; "{}" or "" where there is none."""
        if info.siblings is not None and name not in {file.rfilename for file in info.siblings}:
            return "{}" if name.endswith(".json") else ""
        url = f"{self._endpoint}/{info.id}/resolve/{info.sha or 'main'}/{name}"
        response = get_session().get(url, headers=self._headers, timeout=self._timeout)
        try:
            hf_raise_for_status(response)
        except EntryNotFoundError:
            return "{}" if name.endswith(".json") else ""
        return response.text[:_LARGEST_FILE]


def _gated(repo: str, endpoint: str) -> str:
    return (
        f"Its author asks that a licence be accepted first: do so at {endpoint}/{repo} "
        "and set HF_TOKEN to a token of that account."
    )


def _entry(
    info: ModelInfo, revision: str | None, config: dict[str, Any], card: str, endpoint: str, *, locked: bool = False
) -> ModelEntry:
    text = config.get("text_config") if isinstance(config.get("text_config"), dict) else config
    weights = _weights_gib(info)
    context, cache = _context(text, weights)
    memory = round(weights + cache, 1) if weights else None
    said = info.card_data.to_dict() if info.card_data else {}
    datasets = _texts(said.get("datasets"))
    author = info.id.split("/")[0] if "/" in info.id else ""
    total = info.safetensors.total if info.safetensors else None
    quantised = "quantization_config" in config
    unavailable = _gated(info.id, endpoint) if locked else _not_a_chat_model(info)
    return ModelEntry(
        name=info.id,
        model=info.id,
        revision=revision,
        label=info.id.split("/")[-1],
        description=_first_paragraph(card),
        author=author,
        card_url=f"{endpoint}/{info.id}",
        website=f"{endpoint}/{author}" if author else "",
        training_data=f"Named in its card: {', '.join(datasets)}." if datasets else "",
        licence=str(said.get("license_name") or said.get("license") or ""),
        languages=tuple(code for code in _texts(said.get("language")) if LANGUAGE.fullmatch(code)),
        context=context,
        billion_parameters=round(total / 1e9, 3) if total and not quantised else None,
        memory_gib=memory,
        needs_gpu=quantised or (memory or 0.0) > _GPU_FROM_GIB,
        gated=bool(info.gated),
        defaults=SamplingParams(max_tokens=answer_that_fits(context)),
        unavailable=unavailable,
    )


def _weights_gib(info: ModelInfo) -> float:
    """GiB of the weights once loaded, from the parameter counts of the Hub; 0 where it has none."""
    if info.safetensors and info.safetensors.parameters:
        counts = info.safetensors.parameters.items()
        return sum(count * _BYTES.get(kind, 1 if kind.startswith("F8") else 2) for kind, count in counts) / GIB
    return 0.0


def _context(text: dict[str, Any], weights_gib: float) -> tuple[int, float]:
    """(tokens to make room for, GiB that their keys and values take).

    As many tokens as the model reads and a fifth of its weights' memory holds, but no fewer than `_WANTED_CONTEXT`:
    most models of today read more than any one machine has room for.
    """
    reads = _number(text, "max_position_embeddings") or _number(text, "n_positions") or _number(text, "seq_length")
    layers = _number(text, "num_hidden_layers") or _number(text, "n_layer")
    heads = _number(text, "num_attention_heads") or _number(text, "n_head")
    width = _number(text, "hidden_size") or _number(text, "n_embd")
    head = _number(text, "head_dim") or (width // heads if heads else 0)
    per_token = 2 * 2 * layers * (_number(text, "num_key_value_heads") or heads) * head / GIB  # keys and values, 16 bit
    fifth = weights_gib / 5
    if not reads:
        return ASSUMED_CONTEXT, max(fifth, ASSUMED_CONTEXT * per_token)
    if not per_token:
        return min(reads, _WANTED_CONTEXT), fifth
    fits = int(fifth / per_token) // 1024 * 1024
    context = min(reads, max(fits, _WANTED_CONTEXT))
    return context, max(fifth, context * per_token)


def _number(config: dict[str, Any], key: str) -> int:
    value = config.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _not_a_chat_model(info: ModelInfo) -> str | None:
    """Why this is no model to talk to, where the repository is clear about it."""
    tokenizer = (info.config or {}).get("tokenizer_config")
    files = {file.rfilename for file in info.siblings or ()}
    if not isinstance(tokenizer, dict) or not files:
        return None
    if tokenizer.get("chat_template") or (info.config or {}).get("chat_template_jinja"):
        return None
    if any("chat_template" in name for name in files) or "tekken.json" in files:
        return None
    return "It has no chat template: it continues texts, but holds no conversation. Pick its instruct or chat version."


def _first_paragraph(card: str) -> str:
    """The first plain sentences of a model card, without its front matter and markup; "" if there are none."""
    body = re.sub(r"\A---\n.*?\n---\n", "", card.replace("\r\n", "\n"), count=1, flags=re.DOTALL)
    body = re.sub(r"```.*?(```|\Z)|<!--.*?(-->|\Z)", "", body, flags=re.DOTALL)
    for paragraph in re.split(r"\n\s*\n", body):
        text = " ".join(_LINK.sub(r"\1", _WORDS_OF_MARKUP.sub("", paragraph)).split())
        if len(text) < 40 or text[0] in "#|>-*+=[(0123456789":
            continue
        if len(text) <= _LONGEST_DESCRIPTION:
            return text
        cut = text[:_LONGEST_DESCRIPTION]
        return cut[: cut.rfind(". ") + 1] or cut[: cut.rfind(" ")] + " ..."
    return ""


def _texts(given: Any) -> list[str]:
    items = given if isinstance(given, list) else [given]
    return [item for item in items if isinstance(item, str)]


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

    def history(self) -> list[str]:
        with self._translated():
            refs = self._api.list_repo_refs(self.id, repo_type="dataset", include_pull_requests=True)
            named = (*refs.branches, *refs.tags, *refs.converts, *(refs.pull_requests or ()))
            found: dict[str, None] = {}
            for ref in named:
                for commit in self._api.list_repo_commits(self.id, repo_type="dataset", revision=ref.ref):
                    found.setdefault(commit.commit_id)
            return list(found)

    def readers(self) -> set[str] | None:
        with self._translated():
            info = self._info()
            if info is None or not info.gated:
                return None
            return {
                request.username for request in self._api.list_accepted_access_requests(self.id, repo_type="dataset")
            }

    def announce(self, title: str, text: str) -> None:
        with self._translated(writing=True):
            found = self._api.get_repo_discussions(self.id, repo_type="dataset", discussion_type="discussion")
            if not any(discussion.title == title for discussion in found):
                self._api.create_discussion(self.id, title, description=text, repo_type="dataset")

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
            return Unreachable(f"The Hub at {self._endpoint} asks for fewer requests; this goes on by itself later.")
        if status is not None and status < 500:
            return Denied(f"{self._endpoint} answered {status}, as a Hub does not. Check HF_ENDPOINT.")
        return lost(f"The Hub at {self._endpoint} has trouble of its own ({status or 'no status'}). It is asked again.")


def _status(error: HfHubHTTPError) -> int | None:
    return error.response.status_code if error.response is not None else None
