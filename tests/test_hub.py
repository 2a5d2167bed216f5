"""Datasets on the Hub: what `huggingface_hub` raises becomes one of our errors with a sentence, and purging is thorough."""

from __future__ import annotations

import inspect
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import httpx2
import huggingface_hub.errors
import pytest
from huggingface_hub import HfApi, set_client_factory
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils._http import default_client_factory

from chat.dataset_repo import Conflict, Denied, Doubtful, RepoError, Unreachable
from chat.hub import HubRepo
from chat.hub_client import limit_time
from tests.support.backing import in_git
from tests.support.hub.testing import (  # noqa: F401
    CANARY,
    REPO,
    UPLOAD_WARNING,
    answered,
    clean_hub,
    git,
    parquet,
    running_hub,
)

pytestmark = pytest.mark.filterwarnings(UPLOAD_WARNING)


@pytest.fixture
def repo(hub):
    repo = HubRepo(hub.endpoint, hub.add_user("ada"), REPO)
    repo.create("---\nviewer: false\n---\n")
    return repo


def api(hub, repo: HubRepo) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=repo._api.token)


FAULTS = [
    (dict(status=412), Conflict),
    (dict(status=409), Conflict),
    (dict(status=500), Doubtful),
    (dict(status=503, when="after"), Doubtful),
    (dict(drop=True), Doubtful),
    (dict(drop=True, when="after"), Doubtful),
    (dict(revoke=True), Denied),
    (dict(status=403), Denied),
    (dict(status=404), Denied),
    (dict(status=429), Unreachable),
]


@pytest.mark.parametrize(("fault", "error"), FAULTS)
def test_what_goes_wrong_with_a_commit_is_told_apart(hub, repo, fault, error):
    hub.faults.add(r"/commit/", method="POST", **fault)
    with pytest.raises(error) as raised:
        repo.commit({"a": CANARY.encode()}, [], repo.head(), "Write")
    assert str(raised.value).endswith(".")
    assert CANARY not in str(raised.value)
    # The library's error, with the request and the token in it, does not travel along.
    assert raised.value.__suppress_context__
    assert str(repo._api.token) not in str(raised.value)


@pytest.mark.parametrize("request_path", ["/preupload/", "/commit/"])
def test_a_full_storage_is_told_apart_from_a_token_without_rights(hub, repo, request_path):
    """The Hub says 403 of both."""
    full = {"error": "Private repository storage limit reached, please upgrade your plan."}
    hub.faults.add(request_path, method="POST", status=403, body=full)
    with pytest.raises(Denied, match=r"The private storage of ada on the Hub is full.*[Mm]ake room") as raised:
        repo.commit({"a": CANARY.encode()}, [], repo.head(), "Write")
    assert "HF_TOKEN" not in str(raised.value) and CANARY not in str(raised.value)


def test_a_hub_that_is_silent_is_given_up_on(hub, repo):
    """The library has no time limit of its own; the answer of the commit may yet have been a success."""
    head = repo.head()
    hub.faults.add(r"/commit/", method="POST", delay=1.5, when="after")
    limit_time(0.5)
    try:
        with pytest.raises(Doubtful, match="takes too long"):
            repo.commit({"a": b"1"}, [], head, "Write")
    finally:
        set_client_factory(default_client_factory)


def test_a_time_limit_is_there_though_nobody_set_one(hub):
    set_client_factory(default_client_factory)
    HubRepo(hub.endpoint, "hf_x", REPO)
    assert huggingface_hub.get_session().timeout.read == 60.0


def test_a_commit_of_nothing_new_is_no_success_on_somebody_elses_head(hub, repo):
    """Where no file would change, the library sends nothing and returns the head, whoever made it."""
    first = repo.commit({"a": b"1"}, [], repo.head(), "Write")
    repo.commit({"b": b"2"}, [], first, "Write")
    with pytest.raises(Conflict):
        repo.commit({"a": b"1"}, [], first, "Write")


def test_reading_asks_for_the_commit_and_no_copy(hub, repo, tmp_path):
    """A revoked token, a 503: nothing comes from a cache."""
    head = repo.commit({"a": b"1"}, [], repo.head(), "Write")
    assert repo.read("a", head) == b"1"
    hub.faults.add(r"/resolve/", status=503)
    with pytest.raises(Unreachable):
        repo.read("a", head)
    hub.revoke(str(repo._api.token))
    with pytest.raises(Denied, match="does not accept HF_TOKEN"):
        repo.read("a", head)


def test_a_dataset_is_seen_as_its_readers_see_it(hub, repo):
    settings = api(hub, repo).update_repo_settings
    settings(REPO, repo_type="dataset", private=False)
    assert repo.visibility() == "public"
    settings(REPO, repo_type="dataset", gated="manual")
    assert repo.visibility() == "gated"
    other = HubRepo(hub.endpoint, hub.add_user("mallory"), REPO)
    assert (other.visibility(), other.owned()) == ("gated", False)


def test_of_those_who_ask_for_a_gated_dataset_the_named_ones_are_let_in(hub, repo):
    api(hub, repo).update_repo_settings(REPO, repo_type="dataset", private=False, gated="manual")
    for name in ("Grace", "heidi", "mallory"):
        headers = {"authorization": f"Bearer {hub.add_user(name)}"}
        assert httpx.post(f"{hub.endpoint}/datasets/{REPO}/ask-access", headers=headers).status_code == 200
    repo.accept({"grace", "heidi", "nobody"})
    repo.accept({"grace", "heidi", "nobody"})
    assert repo.readers() == {"Grace", "heidi"}
    assert [one.username for one in api(hub, repo).list_pending_access_requests(REPO, repo_type="dataset")] == [
        "mallory"
    ]
    assert answered(hub, "/user-access-request/handle") == [200, 200]


def test_a_request_that_somebody_else_accepts_meanwhile_is_no_error(hub, repo):
    settings = api(hub, repo)
    settings.update_repo_settings(REPO, repo_type="dataset", private=False, gated="manual")
    headers = {"authorization": f"Bearer {hub.add_user('grace')}"}
    httpx.post(f"{hub.endpoint}/datasets/{REPO}/ask-access", headers=headers)
    hub.faults.add(
        "/user-access-request/handle", do=lambda: settings.accept_access_request(REPO, "grace", repo_type="dataset")
    )
    repo.accept({"grace"})
    assert repo.readers() == {"grace"}


def test_a_dataset_of_an_organisation_is_its_members_own(hub):
    assert HubRepo(hub.endpoint, hub.add_user("lin", orgs=["acme"]), "acme/chats").owned()


def test_a_name_that_is_taken_or_not_ones_own_is_denied(hub, repo):
    mallory = hub.add_user("mallory")
    for name in (REPO, "ada/other", "no such name/at all"):
        with pytest.raises(Denied):
            HubRepo(hub.endpoint, mallory, name).create("card")


@pytest.mark.parametrize("token", ["hf_nobody", "hf_" + "x" * 34])
def test_a_token_that_is_none_is_denied(hub, token):
    with pytest.raises(Denied, match="does not accept HF_TOKEN"):
        HubRepo(hub.endpoint, token, REPO).visibility()


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "http://no-such-host.invalid", "nonsense", "http://[bad"])
def test_a_wrong_endpoint_is_named(endpoint):
    repo = HubRepo(endpoint, "hf_x", REPO)
    for ask in (repo.head, repo.owned):
        with pytest.raises(RepoError, match="HF_ENDPOINT"):
            ask()


def test_a_wrong_endpoint_is_named_by_a_commit():
    # The client itself tries again for some 20 seconds.
    with pytest.raises(RepoError, match="HF_ENDPOINT"):
        HubRepo("http://127.0.0.1:9", "hf_x", REPO).commit({"a": b"1"}, [], "0" * 40, "Write")


ANSWERS = [
    (404, b"Not found"),
    (200, b"<html>Welcome</html>"),
    (200, b'{"hello": "world"}'),
    (200, b"[]"),
    (200, b'{"id": "x"}'),
]


@pytest.mark.parametrize(("status", "body"), ANSWERS)
def test_a_server_that_is_no_hub_is_named(status, body):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            repo = HubRepo(f"http://127.0.0.1:{server.server_port}", "hf_x", REPO)
            for ask in (repo.head, repo.visibility):
                with pytest.raises(RepoError, match="Check HF_ENDPOINT"):
                    ask()
        finally:
            huggingface_hub.close_session()
            server.shutdown()


def test_large_files_go_where_large_files_go(hub, repo):
    content = parquet([CANARY])
    repo.commit({"data/0.parquet": content}, [], repo.head(), "Write")
    assert api(hub, repo).get_paths_info(REPO, "data/0.parquet", repo_type="dataset")[0].lfs is not None


def test_purging_leaves_nothing_that_the_head_does_not_name(hub, repo):
    """Old commits, other branches, tags and large files: git finds the text in none."""
    head = repo.commit(
        {"a": CANARY.encode(), "data/0.parquet": CANARY.encode(), "data/1.parquet": b"stays"}, [], repo.head(), "W"
    )
    api(hub, repo).create_branch(REPO, branch="other", repo_type="dataset")
    api(hub, repo).create_tag(REPO, tag="v1", repo_type="dataset")
    repo.commit({}, ["a", "data/0.parquet"], head, "Remove")
    assert in_git(hub.repo_path("dataset", REPO), CANARY)
    repo.squash("Keep no history")
    repo.purge()
    assert not in_git(hub.repo_path("dataset", REPO), CANARY)
    assert repo.read("data/1.parquet", repo.head()) == b"stays"


@pytest.mark.parametrize("ref", ["refs/pr/1", "refs/convert/parquet"])
def test_what_the_hub_lets_nobody_delete_is_not_called_purged(hub, repo, ref):
    """A pull request, or the Hub's own conversion, keeps an old commit: somebody has to be told."""
    repo.commit({"a": CANARY.encode()}, [], repo.head(), "W")
    git(hub, "update-ref", ref, "refs/heads/main")
    repo.commit({}, ["a"], repo.head(), "Remove")
    repo.squash("Keep no history")
    api(hub, repo).create_branch(REPO, branch="other", repo_type="dataset")
    with pytest.raises(Denied, match=ref):
        repo.purge()
    assert [branch.name for branch in api(hub, repo).list_repo_refs(REPO, repo_type="dataset").branches] == ["main"]


def families(*roots: type[BaseException]) -> list[type[BaseException]]:
    found = list(roots)
    for kind in found:
        found += [child for child in kind.__subclasses__() if child not in found]
    return found


# Of parts of the library that datasets do not use.
UNRELATED = (
    "InferenceEndpoint",
    "TextGeneration",
    "Validation",
    "Generation",
    "Incomplete",
    "Overloaded",
    "Strict",
    "Dataclass",
    "CLI",
    "Bucket",
    "Sandbox",
    "Job",
    "Dduf",
    "DDUF",
    "Xet",
    "Device",
    "OAuth",
    "HTTPStatus",
    "Cache",
    "Corrupted",
    "Unknown",
    "Webhook",
    "Keras",
    "Confirmation",
    "FileDuplication",
    "RevisionResolution",
    "Safetensors",
    "NotASafetensors",
    "OIDC",
    "SDK",
)


def errors_of_the_libraries() -> list[BaseException]:
    response = httpx2.Response(418, request=httpx2.Request("GET", "http://hub.test/"))
    named = [kind for _, kind in inspect.getmembers(huggingface_hub.errors, inspect.isclass)]
    hub = [kind for kind in named if issubclass(kind, Exception) and not issubclass(kind, Warning)]
    made = []
    for kind in {*families(httpx2.HTTPError, httpx2.InvalidURL), *hub}:
        if not kind.__module__.startswith(("httpx2", "huggingface_hub")) or kind.__name__.startswith(UNRELATED):
            continue
        error = kind.__new__(kind)
        Exception.__init__(error, "quotes a token")
        if issubclass(kind, HfHubHTTPError):
            error.response = response
        made.append(error)
    return sorted(made, key=lambda error: type(error).__name__)


@pytest.mark.parametrize("error", errors_of_the_libraries(), ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("writing", [True, False])
def test_every_error_of_the_libraries_is_translated(error, writing):
    repo = HubRepo("http://hub.test", "hf_x", REPO)
    with pytest.raises(RepoError) as raised, repo._errors.translated(writing):
        raise error
    assert "token" not in str(raised.value).lower().replace("hf_token", "")
