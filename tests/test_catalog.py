"""The catalogue. Each name states the rule."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.conversation import RANGES, SamplingParams
from chat.models import yaml_lines
from chat.models.catalog import (
    Catalog,
    CatalogError,
    LookupFailed,
    ModelEntry,
    UnknownModel,
    entries_from_models,
    entry_as_json,
    memory_for,
)
from chat.models.catalog_file import REPOSITORY
from chat.models.entry import Kind
from chat.models.offer import Offer

SHIPPED = REPOSITORY / "chat" / "models.yaml"


@dataclass(frozen=True)
class Small:
    """A machine without a GPU and with `gib` of memory."""

    gib: float = 8.0

    def cannot_run(self, memory_gib: float | None, needs_gpu: bool) -> str | None:
        if needs_gpu:
            return "It needs a GPU."
        return f"It needs {memory_gib:g} GiB." if memory_gib and memory_gib > self.gib else None


def load(tmp_path: Path, text: str) -> Catalog:
    file = tmp_path / "models.yaml"
    file.write_text(text, encoding="utf-8")
    return Catalog.load(file)


def mistakes(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(CatalogError) as caught:
        load(tmp_path, text)
    start = f"{tmp_path / 'models.yaml'}, line "
    assert all(mistake.startswith(start) for mistake in caught.value.mistakes)
    return [mistake.removeprefix(start) for mistake in caught.value.mistakes]


def one(tmp_path: Path, *lines: str) -> str:
    """The only mistake of a file with one entry, whose keys after its name begin on line 4."""
    text = "default: m\nmodels:\n  - name: m\n" + "".join(f"    {line}\n" for line in lines)
    (mistake,) = mistakes(tmp_path, text)
    return mistake


# -- the file that is shipped ---------------------------------------------------------------------------------------


def test_the_shipped_catalogue_has_the_starter_as_its_default_for_any_computer() -> None:
    catalog = Catalog.load(SHIPPED)
    starter = catalog.entry(catalog.default)
    assert starter.model == str(REPOSITORY / "starter" / "model")
    assert starter.is_folder
    assert (starter.context, starter.defaults.temperature, starter.needs_gpu) == (2048, 0.2, False)
    assert starter.memory_gib is not None
    assert starter.memory_gib <= 1


def test_the_shipped_catalogue_has_the_first_huggingchats_models_and_ten_or_more_others() -> None:
    names = [entry.name for entry in Catalog.load(SHIPPED).entries]
    assert {"meta-llama/Llama-2-70b-chat-hf", "OpenAssistant/oasst-sft-6-llama-30b-xor"} < set(names)
    assert len(names) >= 12


def test_every_shipped_entry_says_what_a_visitor_wants_to_know() -> None:
    for entry in Catalog.load(SHIPPED).entries:
        for key in ("label", "description", "author", "training_data", "licence", "languages", "domain", "style"):
            assert getattr(entry, key), f"{entry.name} has no {key}"
        assert entry.difficulty
        assert entry.memory_gib
        assert entry.is_folder or (entry.card_url and entry.website)
        assert entry.defaults.max_tokens < entry.context


def test_every_shipped_model_gets_the_memory_of_its_weights_and_a_fifth_more() -> None:
    for entry in Catalog.load(SHIPPED).entries:
        assert entry.billion_parameters
        assert (entry.memory_gib or 0) >= memory_for(entry.billion_parameters), entry.name
    assert memory_for(68.98) == pytest.approx(68.98e9 * 2 * 1.2 / 2**30, abs=0.05)


# -- mistakes in the file -------------------------------------------------------------------------------------------


def test_an_unknown_key_names_its_line_the_nearest_key_and_what_is_allowed(tmp_path: Path) -> None:
    said = one(tmp_path, "label: M", "contxt: 2048")
    assert said.startswith("5: unknown key 'contxt'. Did you mean 'context'? Allowed here: name, kind, model,")


def test_an_unknown_key_at_the_top_is_a_mistake(tmp_path: Path) -> None:
    said = mistakes(tmp_path, "defualt: m\ndefault: m\nmodels:\n  - name: m\n")
    assert said == ["1: unknown key 'defualt'. Did you mean 'default'? Allowed here: default, models."]


def test_a_key_written_twice_is_a_mistake(tmp_path: Path) -> None:
    assert one(tmp_path, "label: A", "label: B") == "5: the key 'label' is written twice (first on line 4); keep one."


def test_a_name_used_twice_is_a_mistake(tmp_path: Path) -> None:
    said = mistakes(tmp_path, "default: m\nmodels:\n  - name: m\n  - kind: vllm\n    name: m\n")
    assert said == ["5: the name 'm' is taken by the entry on line 3; names must differ."]


def test_a_default_that_is_no_entry_is_a_mistake(tmp_path: Path) -> None:
    said = mistakes(tmp_path, "models:\n  - name: talker\ndefault: talkr\n")
    assert said == ["3: default is 'talkr', which no entry is named. Did you mean 'talker'?"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("kind: vlm", "kind is 'vlm'. Did you mean 'vllm'? Allowed: vllm, openai, tgi, hosted."),
        (
            "difficulty: [simpel]",
            "item 1 of difficulty is 'simpel'. Did you mean 'simple'? Allowed: simple, everyday, hard.",
        ),
        ("languages: [no]", "item 1 of languages is False; expected: text; put it in quotes."),
        ("languages: [English]", "languages holds 'English'. Use language codes such as en, pl or pt-BR."),
        ("languages: en", "languages is 'en'; expected: a list: [one, two]."),
        ("revision: 1234567", "revision is 1234567; expected: text; put it in quotes."),
        ("context: 8k", "context is '8k'; expected: a whole number."),
        ("context: 4", "context is 4; input should be greater than or equal to 16."),
        ("gated: 'yes'", "gated is 'yes'; expected: true or false."),
        ("label:", "label is empty; expected: text; put it in quotes."),
        ("kind: openai", "kind openai needs base_url, the address of the server."),
        ("provider: groq", "kind vllm takes no provider; only kind hosted does."),
        (
            "website: javascript:alert(1)",
            "website is 'javascript:alert(1)'. Use an address such as https://example.com, without a password in it.",
        ),
        (
            "api_key_env: sk-123",
            "api_key_env must be the name of a variable, such as MY_API_KEY, never the key itself.",
        ),
        ("defaults: {temperature: 3}", "temperature must be between 0 and 2, not 3."),
        ("defaults: {max_tokens: 99999}", "max_tokens must be between 1 and 32768, not 99999."),
        ("defaults: {max_tokens: 4096}", "max_tokens is 4096; it must be less than the context (4096)."),
        (
            "engine_args: {trust_remote_code: true}",
            "trust_remote_code is refused: it would run code from the model's repository here. Leave it out.",
        ),
        (
            "engine_args: {dtype: bf16}",
            "dtype is 'bf16'. Did you mean 'bfloat16'? Allowed: auto, bfloat16, float16, float32.",
        ),
        ("engine_args: {tensor_parallel_size: 2.0}", "tensor_parallel_size is 2.0; expected: a whole number."),
        ("engine_args: {tensor_parallel_size: true}", "tensor_parallel_size is True; expected: a whole number."),
        ("engine_args: {gpu_memory_utilization: 90}", "gpu_memory_utilization is 90; it must be between 0.05 and 1."),
        ("engine_args: {quantization: --api-key}", "quantization is '--api-key'; expected: a plain value."),
        ("engine_args: {max_model_len: 512}", "max_model_len is 512, less than context (4096)."),
    ],
)
def test_a_wrong_value_is_one_sentence_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    assert one(tmp_path, "description: Talks.", line) == f"5: {said}"


def test_unknown_sampling_and_engine_keys_name_the_nearest(tmp_path: Path) -> None:
    assert one(tmp_path, "defaults:", "  top-p: 0.9") == (
        f"5: unknown key 'top-p'. Did you mean 'top_p'? Allowed here: {', '.join(RANGES)}."
    )
    said = one(tmp_path, "engine_args:", "  dtyp: auto")
    assert said.startswith("5: unknown key 'dtyp'. Did you mean 'dtype'? Allowed in engine_args: chat_template,")


def test_all_mistakes_are_told_at_once_in_the_order_of_their_lines(tmp_path: Path) -> None:
    rows = "  - name: a\n    kind: vlm\n  - name: a\n    defaults: {seed: x}\n    foo: 1\n  - name: a\n"
    text = f"default: x\nmodels:\n{rows}"
    assert [mistake.split(":")[0] for mistake in mistakes(tmp_path, text)] == ["4", "5", "7", "8"]


def test_a_row_that_cannot_be_read_does_not_hide_the_mistakes_of_another(tmp_path: Path) -> None:
    said = mistakes(tmp_path, "default: a\nmodels:\n  - name: a\n    foo: 1\n  - name: b\n    defaults: {top_k: 999}\n")
    assert [mistake.split(":")[0] for mistake in said] == ["4", "6"]


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("default: m\nmodels:\n  - name: [m\n", "4", "not readable as YAML"),
        ("default: m\nmodels:\n\t- name: m\n", "3", "not readable as YAML"),
        ("default: m\nmodels: !!python/object:os.system x\n", "2", "not readable as YAML"),
        ("default: m\nmodels: \x07\n", "2", "not allowed"),
        ("", "1", "'default' is missing"),
        ("just text", "1", "expected: keys with values"),
        ("default: m\nmodels: []\n", "2", "at least one entry"),
        ("default: m\nmodels: &a\n  - *a\n", "2", "alias"),
        ("default: m\nmodels:\n  - 7\n", "3", "expected: keys with values"),
    ],
)
def test_a_file_that_is_no_catalogue_says_where_and_why(tmp_path: Path, text: str, line: str, word: str) -> None:
    said = mistakes(tmp_path, text)
    assert any(mistake.startswith(f"{line}:") and word in mistake for mistake in said), said


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"cannot be read \(No such file or directory\)\. Point MODELS_FILE"):
        Catalog.load(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"default: caf\xe9\n")
    with pytest.raises(CatalogError, match="UTF-8"):
        Catalog.load(tmp_path / "latin.yaml")


@given(st.text(max_size=60), st.text(max_size=30))
def test_whatever_stands_in_the_file_the_answer_is_a_document_or_a_sentence(key: str, value: str) -> None:
    with suppress(yaml_lines.NotYaml):
        document = yaml_lines.read(f"default: m\nmodels:\n  - name: m\n    {key}: {value}\n")
        assert document.line(("models", 0, "name")) >= 1


# -- entries --------------------------------------------------------------------------------------------------------


def test_what_follows_from_the_name_need_not_be_written(tmp_path: Path) -> None:
    text = "default: org/m\nmodels:\n  - {name: org/m, billion_parameters: 1, context: 512}\n"
    entry = load(tmp_path, text).entry("org/m")
    assert (entry.kind, entry.model, entry.label, entry.author) == ("vllm", "org/m", "m", "org")
    assert (entry.card_url, entry.website) == ("https://huggingface.co/org/m", "https://huggingface.co/org")
    assert entry.memory_gib == 2.2
    assert entry.defaults == SamplingParams(max_tokens=256)


def test_a_servers_address_is_kept_without_v1(tmp_path: Path) -> None:
    text = "default: m\nmodels:\n  - {name: m, kind: openai, base_url: 'https://e.example/v1/', api_key_env: E_KEY}\n"
    entry = load(tmp_path, text).entry("m")
    assert (entry.base_url, entry.api_key_env, entry.card_url) == ("https://e.example", "E_KEY", "")


def test_a_vllm_elsewhere_is_a_server_and_not_a_repository_or_a_folder(tmp_path: Path) -> None:
    text = "default: m\nmodels:\n  - {name: m, kind: vllm, model: ./served, base_url: 'https://v.example:1/v1'}\n"
    entry = load(tmp_path, text).entry("m")
    assert (entry.base_url, entry.model, entry.card_url, entry.author) == ("https://v.example:1", "./served", "", "")
    assert not entry.is_here and not entry.is_folder
    large = replace(entry, memory_gib=1000, needs_gpu=True, gated=True, model="/models/m")
    assert Catalog((large,), "m").listing(Small(), {}) == [(large, None)], "this machine need not run it"
    assert "hosted takes no base_url" in one(tmp_path, "kind: hosted", "base_url: http://h:1")
    assert "not for one at base_url" in one(tmp_path, "base_url: http://h:1", "engine_args: {max_model_len: 8192}")


def test_all_four_kinds_can_be_written(tmp_path: Path) -> None:
    needs = {"openai": ", base_url: 'http://h:1'", "tgi": ", base_url: 'http://h:1'"}
    for kind in get_args(Kind):
        text = f"default: m\nmodels:\n  - {{name: m, kind: {kind}{needs.get(kind, '')}}}\n"
        assert load(tmp_path, text).entry("m").kind == kind


def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(UnknownModel, match=r"There is no model 'Qwen/Qwen3-8b' here. Did you mean Qwen/Qwen3-8B"):
        Catalog.load(SHIPPED).entry("Qwen/Qwen3-8b")
    with pytest.raises(UnknownModel, match="Pick one of: a, b"):
        Catalog((ModelEntry("a"), ModelEntry("b")), "a").entry("zebra-crossing")


# -- MODELS and ENGINE_URL ------------------------------------------------------------------------------------------


class Known:
    """A look-up that knows some repositories, and what it was asked."""

    def __init__(self, *entries: ModelEntry) -> None:
        self.entries = {entry.name: entry for entry in entries}
        self.asked: list[tuple[str, str | None]] = []

    def __call__(self, repo: str, revision: str | None) -> ModelEntry:
        self.asked.append((repo, revision))
        if repo not in self.entries:
            raise LookupFailed(f"No {repo}.")
        return replace(self.entries[repo], revision=revision)


STARTER = ModelEntry("parley-starter", model="org/starter", licence="mit", description="Small.", memory_gib=1)
FILE = Catalog((STARTER, ModelEntry("org/other", model="org/other")), "parley-starter")


def test_models_lists_exactly_what_is_offered_in_its_order() -> None:
    lookup = Known(ModelEntry("org/a"), ModelEntry("org/b"))
    catalog = FILE.offering("org/b@v2, org/a", lookup)
    assert [(entry.name, entry.revision) for entry in catalog.entries] == [("org/b", "v2"), ("org/a", None)]
    assert catalog.default == "org/b"
    with pytest.raises(UnknownModel):
        catalog.entry("org/other")


def test_without_models_the_file_stays_as_it_is() -> None:
    assert FILE.offering("", Known()) == FILE.offering((), Known()) == FILE


def test_a_look_up_that_fails_leaves_a_greyed_entry_with_the_reason() -> None:
    catalog = FILE.offering("org/gone,org/a", Known(ModelEntry("org/a")))
    assert [reason for _, reason in catalog.listing(Small())] == ["No org/gone.", None]
    assert catalog.entry("org/gone").author == "org"


def test_a_hub_that_stays_silent_greys_what_it_was_asked_and_holds_up_nothing_else() -> None:
    """More silent look-ups than threads: those that were not even begun are greyed too."""
    spoken = threading.Event()

    def lookup(repo: str, revision: str | None) -> ModelEntry:
        if repo != "org/quick" and not spoken.wait(60):
            raise AssertionError("the look-ups were waited for")
        return ModelEntry(repo, model=repo)

    silent = [f"org/m{number}" for number in range(20)]
    try:
        entries = entries_from_models(["org/quick", *silent], lookup, within=5.0)
    finally:
        spoken.set()
    assert [entry.name for entry in entries] == ["org/quick", *silent]
    assert entries[0].unavailable is None
    assert {(entry.awaited, entry.unavailable) for entry in entries[1:]} == {
        (
            True,
            "The Hub did not answer within 5 s. It is asked again: reload in a minute, or check the network and HF_ENDPOINT.",
        )
    }


class Away(Known):
    """A look-up of a Hub that is away until `is_back`."""

    is_back = False

    def __call__(self, repo: str, revision: str | None) -> ModelEntry:
        if not self.is_back:
            raise LookupFailed("The Hub is away.", passing=True)
        return super().__call__(repo, revision)


def test_what_the_hub_does_not_say_at_the_start_it_is_asked_again() -> None:
    hub = Away(ModelEntry("org/a", author="org", description="A."), ModelEntry("org/b", author="org"))
    catalog = FILE.offering("org/b@v2,org/a,org/gone", hub)
    assert [entry.awaited for entry in catalog.entries] == [True, True, True]
    assert catalog.asked_again(hub) == catalog
    hub.is_back = True
    again = catalog.asked_again(hub)
    assert [(entry.name, entry.revision, entry.unavailable) for entry in again.entries] == [
        ("org/b", "v2", None),
        ("org/a", None, None),
        ("org/gone", None, "No org/gone."),
    ]
    assert again.entry("org/a").description == "A."
    hub.asked.clear()
    assert again.asked_again(hub) == again and hub.asked == [], "it has said all it knows"


def test_what_models_yaml_says_holds_while_the_hub_is_away_too() -> None:
    """Above all the author, with whom rows may have been shared: another one would take them back."""
    stated = ModelEntry("org/a", model="org/a", author="lab", label="Ours", stated=frozenset({"author", "label"}))
    hub = Away(ModelEntry("org/a", author="org", licence="mit"))
    catalog = replace(FILE, entries=(stated,)).offering("org/a@v2", hub)
    assert (catalog.entry("org/a").author, catalog.entry("org/a").label) == ("lab", "Ours")
    assert catalog.entry("org/a").unavailable == "The Hub is away."
    hub.is_back = True
    found = catalog.asked_again(hub).entry("org/a")
    assert (found.author, found.label, found.licence, found.revision) == ("lab", "Ours", "mit", "v2")


def test_a_model_whose_author_is_another_by_now_is_left_to_a_restart() -> None:
    """Who reads what is shared is said at the start, and agreed to."""
    hub = Away()
    catalog = FILE.offering("org/a", hub)
    hub.is_back, hub.entries = True, {"org/a": ModelEntry("org/a", author="others")}
    found = catalog.asked_again(hub).entry("org/a")
    assert (found.author, found.awaited) == ("org", False) and "Restart" in found.unavailable


def test_what_is_offered_grows_while_the_app_runs_and_nothing_of_it_vanishes() -> None:
    hub = Away(ModelEntry("org/a", author="org"))
    offer = Offer(FILE.offering("org/a", hub), Small(), {}, hub)
    assert (offer.catalog.default, offer.is_awaited) == ("parley-starter", True), "in reserve, and needed"
    assert not offer.ask_again()
    hub.is_back = True
    assert offer.ask_again()
    assert [entry.name for entry in offer.catalog.entries] == ["org/a", "parley-starter"]
    assert (offer.catalog.default, offer.unavailable, offer.is_awaited) == ("org/a", {}, False)


def test_what_goes_wrong_in_a_look_up_that_should_not_is_not_swallowed() -> None:
    def lookup(repo: str, revision: str | None) -> ModelEntry:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        entries_from_models("org/a", lookup)


def test_the_starter_joins_only_if_none_of_models_can_run() -> None:
    catalog = FILE.offering("org/gone,org/a", Known(ModelEntry("org/a", memory_gib=100)))
    assert [entry.name for entry in catalog.settled(Small(500)).entries] == ["org/gone", "org/a"]
    settled = catalog.settled(Small(8))
    assert [entry.name for entry in settled.entries] == ["org/gone", "org/a", "parley-starter"]
    assert settled.default == "parley-starter"


def test_the_default_moves_to_the_first_model_that_can_run() -> None:
    catalog = FILE.offering("org/big,org/a", Known(ModelEntry("org/big", memory_gib=100), ModelEntry("org/a")))
    assert catalog.settled(Small()).default == "org/a"
    assert catalog.settled(Small(500)).default == "org/big"


def test_the_starter_can_be_named_in_models() -> None:
    catalog = FILE.offering("org/a,parley-starter", Known(ModelEntry("org/a")))
    assert [entry.name for entry in catalog.entries] == ["org/a", "parley-starter"]
    assert catalog.reserve is None


@pytest.mark.parametrize(
    "wrong", ["org/a/b", "a b", "org/a@", "@v2", "org/a@v@w", "-x", "../etc", "https://huggingface.co/a/b"]
)
def test_what_cannot_be_a_repository_is_refused_by_name(wrong: str) -> None:
    with pytest.raises(CatalogError, match="MODELS holds"):
        entries_from_models(f"org/fine,{wrong}", Known())


def test_a_repository_named_twice_is_refused() -> None:
    with pytest.raises(CatalogError, match="MODELS names 'org/a' twice"):
        entries_from_models("org/a,org/a@v2", Known())


def test_a_server_elsewhere_comes_first_and_is_the_default() -> None:
    catalog = FILE.with_engine("http://10.0.0.1:8000", api_key_env="ENGINE_API_KEY")
    entry = catalog.entries[0]
    assert (entry.kind, entry.base_url, entry.model) == ("openai", "http://10.0.0.1:8000", "")
    assert (entry.label, entry.api_key_env) == ("10.0.0.1:8000", "ENGINE_API_KEY")
    assert catalog.default == entry.name == "10.0.0.1-8000"
    assert catalog.entries[1:] == FILE.entries
    assert FILE.with_engine(None) is FILE


def test_a_server_elsewhere_is_called_what_it_serves() -> None:
    catalog = FILE.with_engine("http://h:1", ["org/other", "lora"])
    assert [entry.name for entry in catalog.entries] == ["org/other", "lora", "parley-starter"]
    assert (catalog.entries[0].model, catalog.entries[0].author) == ("org/other", "org")


# -- what can run here ----------------------------------------------------------------------------------------------


def test_what_this_machine_cannot_run_is_listed_with_the_machines_reason() -> None:
    listed = {entry.name: reason for entry, reason in Catalog.load(SHIPPED).listing(Small())}
    assert listed["meta-llama/Llama-2-70b-chat-hf"] == "It needs a GPU."
    assert listed["HuggingFaceTB/SmolLM2-360M-Instruct"] is None
    assert "original LLaMA weights" in (listed["OpenAssistant/oasst-sft-6-llama-30b-xor"] or "")


def test_the_machine_is_only_asked_about_models_it_would_run_itself() -> None:
    elsewhere = ModelEntry("m", kind="openai", base_url="http://h", memory_gib=1000, needs_gpu=True)
    assert Catalog((elsewhere,), "m").listing(Small()) == [(elsewhere, None)]


def test_a_folder_that_is_not_there_is_a_reason(tmp_path: Path) -> None:
    here = ModelEntry("here", model=str(tmp_path))
    gone = ModelEntry("gone", model=str(tmp_path / "gone"))
    reasons = [reason for _, reason in Catalog((here, gone), "here").listing(Small())]
    assert reasons == [None, "The folder with its weights is not there."]


def test_a_missing_key_is_a_reason_and_its_value_is_never_told() -> None:
    catalog = Catalog((ModelEntry("m", kind="openai", base_url="http://h", api_key_env="M_KEY"),), "m")
    assert catalog.listing(Small(), {})[0][1] == "It needs the secret M_KEY, which is not set."
    assert catalog.listing(Small(), {"M_KEY": "sk-1"})[0][1] is None
    assert catalog.listing(Small())[0][1] is None


def test_gated_and_hosted_models_need_a_token() -> None:
    entries = (ModelEntry("org/g", gated=True, card_url="https://c"), ModelEntry("org/h", kind="hosted"))
    catalog = Catalog(entries, "org/g")
    gated, hosted = (reason or "" for _, reason in catalog.listing(Small(), {}))
    assert "https://c" in gated
    assert "HF_TOKEN" in gated
    assert "HF_TOKEN" in hosted
    assert [reason for _, reason in catalog.listing(Small(), {"HF_TOKEN": "t"})] == [None, None]


def test_without_its_client_a_tgi_entry_is_greyed_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a Space it cannot be installed: no requirements file can say how."""
    catalog = Catalog((ModelEntry("m", kind="tgi", base_url="http://h"),), "m")
    assert catalog.listing(Small(), {})[0][1] is None
    monkeypatch.setitem(sys.modules, "text_generation", None)
    assert "kind openai" in (catalog.listing(Small(), {})[0][1] or "")


@pytest.mark.parametrize(
    ("entry", "reader"),
    [
        (ModelEntry("m"), None),
        (ModelEntry("m", kind="openai", base_url="http://127.0.0.1:8000"), None),
        (ModelEntry("m", kind="vllm", base_url="http://[::1]:8000"), None),
        (ModelEntry("m", kind="vllm", base_url="https://gpu.example:8000/path"), "gpu.example"),
        (ModelEntry("m", kind="tgi", base_url="https://tgi.example"), "tgi.example"),
        (ModelEntry("m", kind="hosted"), "a provider on Hugging Face"),
        (ModelEntry("m", kind="hosted", base_url="https://endpoint.example/v1"), "endpoint.example"),
    ],
)
def test_the_page_can_say_who_else_reads_what_is_asked(entry: ModelEntry, reader: str | None) -> None:
    assert entry_as_json(entry, None)["answered_by"] == reader


def test_the_json_of_an_entry_has_the_pages_fields_and_no_folder_port_or_key() -> None:
    entry = ModelEntry(
        "m",
        kind="openai",
        model="/secret/folder",
        base_url="http://host.example:1234/secret",
        api_key_env="SECRET_KEY",
        languages=("pl",),
    )
    shown = entry_as_json(entry, "Not here.", default=True)
    wanted = "name label author description card_url website licence context memory_gib categories available reason"
    assert {*wanted.split(), "defaults", "default"} <= set(shown)
    assert (shown["available"], shown["reason"], shown["default"]) == (False, "Not here.", True)
    assert shown["categories"] == {"language": ["pl"], "domain": [], "style": [], "difficulty": []}
    assert shown["defaults"] == SamplingParams().as_dict()
    assert "secret" not in repr(shown).lower()
    assert "1234" not in repr(shown)
    assert entry_as_json(entry, None)["available"] is True
