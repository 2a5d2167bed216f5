"""The look-up of models, by the unmodified Hub client, on the loopback Hub. Each name states the rule."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from chat.models.catalog import Catalog, LookupFailed, ModelEntry, entries_from_models
from chat.models.lookup import ModelLookup
from tests.support.hub import LoopbackHub
from tests.support.hub.testing import UPLOAD_WARNING, clean_hub, running_hub  # noqa: F401

pytestmark = pytest.mark.filterwarnings(UPLOAD_WARNING)

TALKER = "ada/talker"
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "max_position_embeddings": 131072,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_size": 4096,
}
CARD = """---
license: apache-2.0
language: [en, pl, multilingual]
datasets: [ada/text]
---
# Talker

![badge](https://example.com/x.png)

**Talker** is a [model](https://example.com) that holds conversations in two languages.

## More
"""
CHAT = {"chat_template": "{{ messages }}"}


def weights(billions: float) -> bytes:
    """The head of a safetensors file that names one tensor of so many bf16 parameters."""
    size = int(billions * 1e9)
    head = json.dumps({"all": {"dtype": "BF16", "shape": [size], "data_offsets": [0, 2 * size]}}).encode()
    return len(head).to_bytes(8, "little") + head


def add_talker(
    hub: LoopbackHub,
    billions: float = 8.0,
    config: str = json.dumps(CONFIG),
    tokenizer: dict[str, str] = CHAT,
    private: bool = False,
    **files: bytes,
) -> HfApi:
    """A model of ada's, and the interface as ada."""
    api = HfApi(endpoint=hub.endpoint, token=hub.add_user("ada"))
    api.create_repo(TALKER, private=private)
    content = {
        "config.json": config.encode(),
        "README.md": CARD.encode(),
        "tokenizer_config.json": json.dumps(tokenizer).encode(),
        "model.safetensors": weights(billions),
        **files,
    }
    operations = [CommitOperationAdd(path, given) for path, given in content.items()]
    api.create_commit(TALKER, operations, commit_message="Write")
    hub.requests.clear()
    return api


def look_up(hub: LoopbackHub, repo: str = TALKER, revision: str | None = None, token: str | None = None) -> ModelEntry:
    return ModelLookup(hub.endpoint, token)(repo, revision)


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    """The address of a server that is no Hub and answers everything with `body`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_an_entry_is_made_from_the_repositorys_config_and_card(hub: LoopbackHub) -> None:
    add_talker(hub)
    entry = look_up(hub)
    assert (entry.name, entry.model, entry.author, entry.label) == (TALKER, TALKER, "ada", "talker")
    assert entry.card_url == f"{hub.endpoint}/{TALKER}"
    assert entry.licence == "apache-2.0"
    assert entry.languages == ("en", "pl")
    assert entry.description == "Talker is a model that holds conversations in two languages."
    assert entry.training_data == "Named in its card: ada/text."
    assert entry.billion_parameters == 8.0
    assert entry.unavailable is None


def test_memory_is_the_bf16_weights_and_a_fifth_and_the_context_is_what_fits_in_that_fifth(hub: LoopbackHub) -> None:
    add_talker(hub)
    entry = look_up(hub)
    assert entry.memory_gib == pytest.approx(8e9 * 2 * 1.2 / 2**30, abs=0.1)
    per_token = 2 * 2 * 32 * 8 * 128  # keys and values of 32 layers, 8 heads of 128, 2 bytes each
    assert entry.context * per_token <= 8e9 * 2 * 0.2 < (entry.context + 1024) * per_token
    assert entry.needs_gpu


def test_a_small_model_gets_memory_for_a_usable_context(hub: LoopbackHub) -> None:
    add_talker(hub, billions=0.1)
    entry = look_up(hub)
    assert entry.context == 8192
    assert entry.memory_gib == pytest.approx((0.2e9 + 8192 * 2 * 2 * 32 * 8 * 128) / 2**30, abs=0.1)
    assert not entry.needs_gpu


def test_a_model_never_gets_a_longer_context_than_it_reads(hub: LoopbackHub) -> None:
    add_talker(hub, config=json.dumps({"text_config": {**CONFIG, "max_position_embeddings": 2048}}))
    entry = look_up(hub)
    assert entry.context == 2048
    assert entry.defaults.max_tokens == 1024


def test_files_are_read_at_the_commit_that_was_looked_up(hub: LoopbackHub) -> None:
    api = add_talker(hub)
    api.create_tag(TALKER, tag="v2")
    sha = api.model_info(TALKER).sha
    hub.requests.clear()
    assert look_up(hub, revision="v2").revision == "v2"
    assert [entry.path for entry in hub.requests] == [
        f"/api/models/{TALKER}/revision/v2",
        f"/{TALKER}/resolve/{sha}/config.json",
        f"/{TALKER}/resolve/{sha}/README.md",
    ]


def test_a_private_repository_is_read_with_the_token_that_was_given_and_no_other(
    hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = str(add_talker(hub, private=True).token)
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(LookupFailed, match="or it is private"):
        look_up(hub)
    assert [entry.status for entry in hub.requests] == [401]
    assert look_up(hub, token=token).licence == "apache-2.0"


def test_a_gated_repository_is_listed_with_the_way_to_open_it(hub: LoopbackHub) -> None:
    api = add_talker(hub)
    api.update_repo_settings(TALKER, gated="manual")
    for token in (None, hub.add_user("mallory")):
        entry = look_up(hub, token=token)
        assert entry.gated
        assert entry.licence == "apache-2.0"
        assert f"{hub.endpoint}/{TALKER}" in (entry.unavailable or "")
        assert "HF_TOKEN" in (entry.unavailable or "")
    assert look_up(hub, token=str(api.token)).unavailable is None


def test_a_base_model_without_a_chat_template_is_greyed_with_the_reason(hub: LoopbackHub) -> None:
    add_talker(hub, tokenizer={"bos_token": "<s>"})
    assert "no chat template" in (look_up(hub).unavailable or "")


def test_a_chat_template_may_stand_in_a_file_of_its_own(hub: LoopbackHub) -> None:
    add_talker(hub, tokenizer={"bos_token": "<s>"}, **{"chat_template.jinja": b"{{ messages }}"})
    assert look_up(hub).unavailable is None


def test_a_repository_without_card_config_or_weights_still_makes_an_entry(hub: LoopbackHub) -> None:
    HfApi(endpoint=hub.endpoint, token=hub.add_user("ada")).create_repo("ada/bare")
    entry = look_up(hub, "ada/bare")
    assert (entry.memory_gib, entry.licence, entry.description, entry.languages) == (None, "", "", ())


@pytest.mark.parametrize(
    "junk", ["[]", "{", '{"max_position_embeddings": "x", "hidden_size": -1}', '{"text_config": 3}']
)
def test_a_config_of_nonsense_breaks_nothing(hub: LoopbackHub, junk: str) -> None:
    add_talker(hub, config=junk)
    entries = entries_from_models(TALKER, ModelLookup(hub.endpoint, None))
    assert entries[0].name == TALKER


def test_an_unknown_repository_says_so(hub: LoopbackHub) -> None:
    for token in (None, hub.add_user("ada")):
        with pytest.raises(LookupFailed, match="no repository ada/nobody, or it is private") as failed:
            look_up(hub, "ada/nobody", token=token)
        assert not failed.value.passing


def test_an_unknown_revision_says_so(hub: LoopbackHub) -> None:
    add_talker(hub)
    with pytest.raises(LookupFailed, match="not its revision 'v9'"):
        look_up(hub, revision="v9")


@pytest.mark.parametrize("path", ["/api/models/", "/resolve/.*/config.json", "/resolve/.*/README.md"])
@pytest.mark.parametrize("status", [400, 403, 429, 500, 503])
def test_an_error_of_the_hub_names_its_status(hub: LoopbackHub, status: int, path: str) -> None:
    """What passes by itself is worth another try."""
    add_talker(hub)
    hub.faults.add(path, status=status)
    with pytest.raises(LookupFailed, match=str(status)) as failed:
        look_up(hub)
    assert failed.value.passing is (status in (429, 500, 503))


@pytest.mark.parametrize("path", ["/api/models/", "/resolve/.*/config.json"])
def test_a_lost_connection_is_a_hub_that_could_not_be_reached(hub: LoopbackHub, path: str) -> None:
    add_talker(hub)
    hub.faults.add(path, drop=True)
    with pytest.raises(LookupFailed, match="could not be reached") as failed:
        look_up(hub)
    assert failed.value.passing


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b'{"hello": 1}'])
def test_a_server_that_is_no_hub_is_recognised(body: bytes) -> None:
    with answering(body) as url, pytest.raises(LookupFailed, match="Check HF_ENDPOINT"):
        ModelLookup(url, None)("ada/talker")


def test_a_silent_hub_is_given_up(hub: LoopbackHub) -> None:
    add_talker(hub)
    hub.faults.add("/api/models/", delay=2.0)
    with pytest.raises(LookupFailed, match="could not be reached"):
        ModelLookup(hub.endpoint, None, timeout=0.1)(TALKER)


def test_a_hub_that_is_down_leaves_every_entry_listed_with_the_reason() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        entries = entries_from_models("org/a,org/b@v2", ModelLookup(url, None))
    assert [(entry.name, entry.revision) for entry in entries] == [("org/a", None), ("org/b", "v2")]
    assert {entry.author for entry in entries} == {"org"}
    assert all(f"The Hub at {url} could not be reached" in (entry.unavailable or "") for entry in entries)


def test_an_address_that_is_none_is_a_failed_look_up() -> None:
    with pytest.raises(LookupFailed):
        ModelLookup("http://[", None)("org/a")


def written(folder: Path, entry: str) -> Catalog:
    file = folder / "models.yaml"
    file.write_text(f"default: ada/talker\nmodels:\n  - {{name: ada/talker, {entry}}}\n")
    return Catalog.load(file)


def test_what_models_yaml_states_goes_before_what_the_hub_says(hub: LoopbackHub, tmp_path: Path) -> None:
    add_talker(hub)
    catalog = written(tmp_path, "label: Our talker, context: 4096, defaults: {temperature: 0.1}")
    entry = catalog.offering("ada/talker", ModelLookup(hub.endpoint, None)).entry("ada/talker")
    assert (entry.label, entry.context, entry.defaults.temperature) == ("Our talker", 4096, 0.1)
    assert (entry.licence, entry.billion_parameters) == ("apache-2.0", 8.0)


def test_the_default_answer_always_fits_the_context(hub: LoopbackHub, tmp_path: Path) -> None:
    add_talker(hub, config=json.dumps({**CONFIG, "max_position_embeddings": 512}))
    catalog = written(tmp_path, "defaults: {max_tokens: 900}")
    entry = catalog.offering("ada/talker", ModelLookup(hub.endpoint, None)).entry("ada/talker")
    assert (entry.context, entry.defaults.max_tokens) == (512, 256)


def test_an_entry_that_says_enough_is_not_looked_up(hub: LoopbackHub, tmp_path: Path) -> None:
    catalog = written(tmp_path, "licence: mit, description: Talks., billion_parameters: 2")
    assert catalog.offering("ada/talker@v2", ModelLookup(hub.endpoint, None)).entry("ada/talker").revision == "v2"
    assert hub.requests == []
