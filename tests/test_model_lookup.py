"""The look-up of models, by the unmodified Hub client over HTTP. Each name states the rule."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.responses import JSONResponse, PlainTextResponse

from chat.catalog import Catalog, LookupFailed, ModelEntry, entries_from_models
from chat.hub import ModelLookup
from tests.support.model_repos import SHA, ModelRepos, serving

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
language: [en, pl]
datasets: [org/text]
---
# Talker

![badge](https://example.com/x.png)

**Talker** is a [model](https://example.com) that holds conversations in two languages.

## More
"""
CHAT = {"tokenizer_config": {"chat_template": "{{ messages }}"}}


@pytest.fixture
def hub() -> Iterator[ModelRepos]:
    with serving(ModelRepos()) as repos:
        yield repos


def add_talker(hub: ModelRepos, repo: str = "org/talker", billions: float = 8.0, **more: object) -> None:
    weights = {"parameters": {"BF16": int(billions * 1e9)}, "total": int(billions * 1e9)}
    card_data = {"license": "apache-2.0", "language": ["en", "pl", "multilingual"], "datasets": ["org/text"]}
    info = {"safetensors": weights, "cardData": card_data, "config": CHAT, "gated": False, **more}
    hub.add(repo, info, config__json=json.dumps(CONFIG), README__md=CARD)


def look_up(hub: ModelRepos, repo: str = "org/talker", revision: str | None = None, **kwargs: object) -> ModelEntry:
    return ModelLookup(hub.url, kwargs.pop("token", None), **kwargs)(repo, revision)  # type: ignore[arg-type]


def test_an_entry_is_made_from_the_repositorys_config_and_card(hub: ModelRepos) -> None:
    add_talker(hub)
    entry = look_up(hub)
    assert (entry.name, entry.model, entry.author, entry.label) == ("org/talker", "org/talker", "org", "talker")
    assert entry.card_url == f"{hub.url}/org/talker"
    assert entry.licence == "apache-2.0"
    assert entry.languages == ("en", "pl")
    assert entry.description == "Talker is a model that holds conversations in two languages."
    assert entry.training_data == "Named in its card: org/text."
    assert entry.billion_parameters == 8.0
    assert entry.unavailable is None


def test_memory_is_the_bf16_weights_and_a_fifth_and_the_context_is_what_fits_in_that_fifth(hub: ModelRepos) -> None:
    add_talker(hub)
    entry = look_up(hub)
    assert entry.memory_gib == pytest.approx(8e9 * 2 * 1.2 / 2**30, abs=0.1)
    per_token = 2 * 2 * 32 * 8 * 128  # keys and values of 32 layers, 8 heads of 128, 2 bytes each
    assert entry.context * per_token <= 8e9 * 2 * 0.2 < (entry.context + 1024) * per_token
    assert entry.needs_gpu


def test_a_small_model_gets_memory_for_a_usable_context(hub: ModelRepos) -> None:
    add_talker(hub, billions=0.1)
    entry = look_up(hub)
    assert entry.context == 8192
    assert entry.memory_gib == pytest.approx((0.2e9 + 8192 * 2 * 2 * 32 * 8 * 128) / 2**30, abs=0.1)
    assert not entry.needs_gpu


def test_a_model_never_gets_a_longer_context_than_it_reads(hub: ModelRepos) -> None:
    add_talker(hub)
    hub.files["org/talker/config.json"] = json.dumps({"text_config": {**CONFIG, "max_position_embeddings": 2048}})
    entry = look_up(hub)
    assert entry.context == 2048
    assert entry.defaults.max_tokens == 1024


def test_files_are_read_at_the_commit_that_was_looked_up(hub: ModelRepos) -> None:
    add_talker(hub)
    entry = look_up(hub, revision="v2")
    assert entry.revision == "v2"
    paths = [path for path, _ in hub.requests]
    assert paths == [
        "/api/models/org/talker/revision/v2",
        f"/org/talker/resolve/{SHA}/config.json",
        f"/org/talker/resolve/{SHA}/README.md",
    ]


def test_the_token_goes_along_and_without_one_nothing_does(hub: ModelRepos) -> None:
    add_talker(hub)
    look_up(hub, token="hf_reader")
    assert {authorization for _, authorization in hub.requests} == {"Bearer hf_reader"}
    hub.requests.clear()
    look_up(hub)
    assert {authorization for _, authorization in hub.requests} == {None}


def test_a_gated_repository_is_listed_with_the_way_to_open_it(hub: ModelRepos) -> None:
    add_talker(hub, gated="manual")
    hub.gated.add("org/talker")
    entry = look_up(hub)
    assert entry.gated
    assert entry.licence == "apache-2.0"
    assert f"{hub.url}/org/talker" in (entry.unavailable or "")
    assert "HF_TOKEN" in (entry.unavailable or "")
    assert look_up(hub, token=hub.token).unavailable is None


def test_a_base_model_without_a_chat_template_is_greyed_with_the_reason(hub: ModelRepos) -> None:
    add_talker(hub, config={"tokenizer_config": {"bos_token": "<s>"}})
    assert "no chat template" in (look_up(hub).unavailable or "")


def test_a_chat_template_may_stand_in_a_file_of_its_own(hub: ModelRepos) -> None:
    add_talker(hub, config={"tokenizer_config": {"bos_token": "<s>"}})
    hub.info["org/talker"]["siblings"].append({"rfilename": "chat_template.jinja"})
    assert look_up(hub).unavailable is None


def test_a_repository_without_card_config_or_weights_still_makes_an_entry(hub: ModelRepos) -> None:
    hub.add("org/bare")
    entry = look_up(hub, "org/bare")
    assert (entry.memory_gib, entry.licence, entry.description, entry.languages) == (None, "", "", ())


@pytest.mark.parametrize(
    "junk", ["[]", "{", '{"max_position_embeddings": "x", "hidden_size": -1}', '{"text_config": 3}']
)
def test_a_config_of_nonsense_breaks_nothing(hub: ModelRepos, junk: str) -> None:
    add_talker(hub)
    hub.files["org/talker/config.json"] = junk
    entries = entries_from_models("org/talker", ModelLookup(hub.url, None))
    assert entries[0].name == "org/talker"


def test_an_unknown_repository_says_so(hub: ModelRepos) -> None:
    with pytest.raises(LookupFailed, match="no repository org/nobody, or it is private"):
        look_up(hub, "org/nobody")


def test_an_unknown_revision_says_so(hub: ModelRepos) -> None:
    add_talker(hub)
    with pytest.raises(LookupFailed, match="not its revision 'v9'"):
        look_up(hub, revision="v9")


@pytest.mark.parametrize("status", [400, 403, 429, 500, 503])
def test_an_error_of_the_hub_names_its_status(hub: ModelRepos, status: int) -> None:
    hub.answer = PlainTextResponse("no", status_code=status)
    with pytest.raises(LookupFailed, match=str(status)):
        look_up(hub)


@pytest.mark.parametrize("answer", [PlainTextResponse("<html>"), JSONResponse([1]), JSONResponse({"hello": 1})])
def test_a_server_that_is_no_hub_is_recognised(hub: ModelRepos, answer: PlainTextResponse) -> None:
    hub.answer = answer
    with pytest.raises(LookupFailed, match="Check HF_ENDPOINT"):
        look_up(hub)


def test_a_silent_hub_is_given_up(hub: ModelRepos) -> None:
    hub.silent = True
    with pytest.raises(LookupFailed, match="could not be reached"):
        look_up(hub, timeout=0.2)


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
    file.write_text(f"default: org/talker\nmodels:\n  - {{name: org/talker, {entry}}}\n")
    return Catalog.load(file)


def test_what_models_yaml_states_goes_before_what_the_hub_says(hub: ModelRepos, tmp_path: Path) -> None:
    add_talker(hub)
    catalog = written(tmp_path, "label: Our talker, context: 4096, defaults: {temperature: 0.1}")
    entry = catalog.offering("org/talker", ModelLookup(hub.url, None)).entry("org/talker")
    assert (entry.label, entry.context, entry.defaults.temperature) == ("Our talker", 4096, 0.1)
    assert (entry.licence, entry.billion_parameters) == ("apache-2.0", 8.0)


def test_the_default_answer_always_fits_the_context(hub: ModelRepos, tmp_path: Path) -> None:
    add_talker(hub)
    hub.files["org/talker/config.json"] = json.dumps({**CONFIG, "max_position_embeddings": 512})
    catalog = written(tmp_path, "defaults: {max_tokens: 900}")
    entry = catalog.offering("org/talker", ModelLookup(hub.url, None)).entry("org/talker")
    assert (entry.context, entry.defaults.max_tokens) == (512, 256)


def test_an_entry_that_says_enough_is_not_looked_up(hub: ModelRepos, tmp_path: Path) -> None:
    catalog = written(tmp_path, "licence: mit, description: Talks., billion_parameters: 2")
    assert catalog.offering("org/talker@v2", ModelLookup(hub.url, None)).entry("org/talker").revision == "v2"
    assert hub.requests == []
