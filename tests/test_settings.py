"""Settings from variables. Each name states the rule."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.dataset_repo import FolderRepo
from chat.repo_guards import OfOneSpace
from chat.repositories import private_repo, sharing_repo, slots_of
from chat.settings import Settings, SettingsError
from chat.variables import PLANNED, REPOSITORY, VARIABLES, Variable, variables_table

HOME = {"HOME": "/home/ada"}
SPACE = {"HOME": "/home/user", "SPACE_ID": "ada/talk", "SPACE_HOST": "ada-talk.hf.space", "SPACE_AUTHOR_NAME": "ada"}


def mistakes(**environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({**HOME, **environ})
    return str(caught.value)


def test_an_empty_environment_gives_the_documented_defaults() -> None:
    settings = Settings.from_env(HOME)
    assert (settings.host, settings.port) == ("127.0.0.1", 7860)
    assert settings.data_dir == Path("/home/ada/.local/share/parley")
    assert settings.hf_endpoint == settings.openid_provider_url == "https://huggingface.co"
    assert settings.models_file == REPOSITORY / "chat" / "models.yaml"
    assert settings.models == ()
    assert (settings.engine_url, settings.store_dataset, settings.share_namespace) == (None, None, None)
    assert (settings.quiet_hours, settings.sync_seconds, settings.share_prefix) == (72.0, 60.0, "parley")
    assert settings.warnings == ()
    assert not settings.on_space
    assert not settings.can_sign_in


def test_every_variable_has_a_field_and_every_field_a_variable() -> None:
    assert {variable.name.lower() for variable in VARIABLES} | {"warnings"} == {f.name for f in fields(Settings)}


def test_the_defaults_in_the_table_are_the_defaults_of_the_settings() -> None:
    settings = Settings.from_env(HOME)
    for variable in VARIABLES:
        value = getattr(settings, variable.name.lower())
        documented = variable.default.split(";")[0]
        if documented in ("none", "", "every entry of models.yaml"):
            assert not value, variable.name
        elif isinstance(value, (str, int, float)) and variable.name != "OPENID_PROVIDER_URL":
            assert documented == (f"{value:g}" if isinstance(value, float) else str(value)), variable.name
        elif isinstance(value, tuple):
            assert documented == " ".join(value), variable.name
        elif isinstance(value, Path):
            assert value.name == Path(documented).name, variable.name


def test_the_table_for_the_readme_names_every_variable() -> None:
    assert all(f"`{variable.name}`" in variables_table() for variable in VARIABLES)


def test_on_a_space_the_page_listens_everywhere_and_uses_the_owners_own_repositories() -> None:
    settings = Settings.from_env({**SPACE, "HF_TOKEN": "hf_x"})
    assert settings.host == "0.0.0.0"
    assert settings.store_dataset == "ada/talk-conversations"
    assert settings.share_namespace == "ada"
    assert settings.data_dir == Path("/home/user/.local/share/parley")
    assert settings.on_space
    assert settings.warnings == ()


def test_a_duplicate_that_kept_the_originals_variables_is_told() -> None:
    duplicate = Settings.from_env({**SPACE, "STORE_DATASET": "eve/talk-conversations", "SHARE_NAMESPACE": "eve"})
    pointing = [warning for warning in duplicate.warnings if "points at" in warning]
    assert len(pointing) == 2
    assert all("'eve'" in warning and "'ada'" in warning for warning in pointing)


def test_a_duplicate_without_secrets_says_that_conversations_go_with_the_machine() -> None:
    """Secrets do not come along with a duplicate, variables do."""
    duplicate = Settings.from_env({**SPACE, "WAL_BUCKET": "ada/wal"})
    assert any("HF_TOKEN is not set" in warning and "secret" in warning for warning in duplicate.warnings)
    assert any("WAL_BUCKET has no effect without HF_TOKEN" in warning for warning in duplicate.warnings)
    repo = private_repo(duplicate, slots_of(duplicate, lambda: 0.0))
    assert isinstance(repo, FolderRepo) and repo.id.startswith(str(duplicate.data_dir))


@pytest.mark.parametrize("made", ["store", "share"])
def test_a_space_writes_to_its_own_repositories_alone(made: str) -> None:
    settings = Settings.from_env({**SPACE, "HF_TOKEN": "hf_x"})
    slots = slots_of(settings, lambda: 0.0)
    repo = private_repo(settings, slots) if made == "store" else sharing_repo(settings, "ada/parley-x", slots)
    assert isinstance(repo, OfOneSpace)
    assert repo.id.startswith("ada/")


def test_a_space_without_an_author_variable_belongs_to_its_namespace() -> None:
    assert Settings.from_env({"HOME": "/h", "SPACE_ID": "bo/talk"}).share_namespace == "bo"


def test_the_data_folder_follows_the_xdg_specification_but_not_on_a_space() -> None:
    assert Settings.from_env({**HOME, "XDG_DATA_HOME": "/srv/x"}).data_dir == Path("/srv/x/parley")
    assert Settings.from_env({**HOME, "XDG_DATA_HOME": "x"}).data_dir == Path("/home/ada/.local/share/parley")
    assert Settings.from_env({**SPACE, "XDG_DATA_HOME": "/data"}).data_dir == Path("/home/user/.local/share/parley")


def test_without_a_home_the_data_folder_must_be_named() -> None:
    with pytest.raises(SettingsError, match="DATA_DIR is not set"):
        Settings.from_env({})
    assert Settings.from_env({"DATA_DIR": "/srv/parley"}).data_dir == Path("/srv/parley")


@pytest.mark.parametrize(
    "path", ["data", f"{REPOSITORY}", f"{REPOSITORY}/data", f"{REPOSITORY}/../{REPOSITORY.name}/x"]
)
def test_the_data_folder_is_never_in_parleys_own_folder(path: str) -> None:
    assert mistakes(DATA_DIR=path).startswith(f"DATA_DIR is {path!r}. Use the full path")


def test_the_data_folder_of_a_space_is_no_network_disk() -> None:
    with pytest.raises(SettingsError, match="DATA_DIR is '/data/parley', which on a Space is a network disk"):
        Settings.from_env({**SPACE, "DATA_DIR": "/data/parley"})
    assert Settings.from_env({**HOME, "DATA_DIR": "/data/parley"}).data_dir == Path("/data/parley")


@pytest.mark.parametrize("port", ["x", "0", "65536", "-1", "80.5", "1e3", "٨٠٨٠"])
def test_a_wrong_port_names_the_variable_the_value_and_what_is_allowed(port: str) -> None:
    assert mistakes(PORT=port) == f"PORT is {port!r}. Use a whole number from 1 to 65535."


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("HOST", "http://here"),
        ("HF_ENDPOINT", "huggingface.co"),
        ("HF_ENDPOINT", "ftp://hub"),
        ("HF_ENDPOINT", "https://user:word@hub"),
        ("HF_ENDPOINT", "http://hub:port"),
        ("HF_ENDPOINT", "http://["),
        ("MODELS", "org/a org/b"),
        ("MODELS", "org/a,org/a@v2"),
        ("MODELS", "org/a@"),
        ("MODELS", ","),
        ("MODELS_FILE", "/not/there.yaml"),
        ("MODELS_FILE", "/" + "x" * 5000),
        ("ENGINE_URL", "10.0.0.1:8000"),
        ("STORE_DATASET", "mine"),
        ("SHARE_NAMESPACE", "a/b"),
        ("QUIET_HOURS", "nan"),
        ("QUIET_HOURS", "-1"),
        ("SYNC_SECONDS", "0"),
        ("SYNC_SECONDS", "inf"),
        ("ALLOWED_ORIGINS", "*"),
        ("ALLOWED_ORIGINS", "https://*.example.com"),
        ("ALLOWED_ORIGINS", "http://example.com"),
        ("ALLOWED_ORIGINS", "https://example.com/page"),
    ],
)
def test_a_wrong_value_is_one_sentence_with_name_value_and_remedy(name: str, wrong: str) -> None:
    said = mistakes(**{name: wrong})
    assert said.startswith(f"{name} is {wrong!r}. Use ")
    assert "\n" not in said


def test_all_mistakes_are_told_at_once() -> None:
    assert len(mistakes(PORT="x", QUIET_HOURS="y", HF_ENDPOINT="z").splitlines()) == 3


def test_values_are_read_into_their_types() -> None:
    settings = Settings.from_env(
        {
            **HOME,
            "PORT": " 8080 ",
            "HF_ENDPOINT": "http://127.0.0.1:5000/",
            "MODELS": "org/a, org/b@v2,",
            "ENGINE_URL": "https://engine.example/v1/",
            "ALLOWED_ORIGINS": "https://Example.com, http://localhost:3000",
            "QUIET_HOURS": "0.5",
            "OAUTH_SCOPES": "openid profile email",
        }
    )
    assert settings.port == 8080
    assert settings.hf_endpoint == settings.openid_provider_url == "http://127.0.0.1:5000"
    assert settings.models == ("org/a", "org/b@v2")
    assert settings.engine_url == "https://engine.example"
    assert settings.allowed_origins == ("https://example.com", "http://localhost:3000")
    assert settings.quiet_hours == 0.5
    assert settings.oauth_scopes == ("openid", "profile", "email")


def test_an_empty_variable_counts_as_not_set() -> None:
    empty = {variable.name: " " for variable in VARIABLES}
    assert Settings.from_env({**empty, **HOME}) == Settings.from_env(HOME)


def test_a_secret_is_in_no_repr_and_no_error() -> None:
    secrets = [variable.name for variable in VARIABLES if variable.secret]
    assert "HF_TOKEN" in secrets
    assert "OAUTH_CLIENT_SECRET" in secrets
    settings = Settings.from_env({**HOME, **dict.fromkeys(secrets, "hush-hush"), "ENGINE_URL": "https://e.example"})
    assert settings.hf_token == "hush-hush"
    assert "hush" not in repr(settings)
    for name in secrets:
        assert "hush" not in mistakes(**{name: "hush hush"})


def test_signing_in_needs_the_clients_id_and_its_secret() -> None:
    assert not Settings.from_env({**SPACE, "OAUTH_CLIENT_ID": "id"}).can_sign_in
    assert Settings.from_env({**SPACE, "OAUTH_CLIENT_ID": "id", "OAUTH_CLIENT_SECRET": "s"}).can_sign_in


@pytest.mark.parametrize(
    ("typo", "meant"), [("MODLES", "MODELS"), ("MODEL", "MODELS"), ("Port", "PORT"), ("HF_TOKN", "HF_TOKEN")]
)
def test_a_variable_that_looks_like_a_typo_of_ours_is_pointed_out(typo: str, meant: str) -> None:
    (warning,) = Settings.from_env({**HOME, typo: "7"}).warnings
    assert warning == f"{typo} is not a variable of Parley and has no effect. Did you mean {meant}?"


def test_variables_of_a_usual_machine_are_no_typos() -> None:
    usual = (
        "PATH PWD USER SHELL LANG TERM HOSTNAME HOSTTYPE HF_HOME HF_HUB_CACHE HF_HUB_OFFLINE HF_TOKEN_PATH HTTP_PROXY "
        "SPACE_TITLE SPACE_REPO_NAME SPACE_SUBDOMAIN SPACE_CREATOR_USER_ID CUDA_VISIBLE_DEVICES DISPLAY EDITOR MAIL"
    )
    assert Settings.from_env({**SPACE, "HF_TOKEN": "x", **dict.fromkeys(usual.split(), "x")}).warnings == ()


@pytest.mark.parametrize("name", [*PLANNED, *(variable.name for variable in VARIABLES if variable.planned)])
def test_a_variable_without_effect_yet_says_so(name: str) -> None:
    usable = {"STORE_DATASET": "me/kept", "QUIET_HOURS": "1", "SYNC_SECONDS": "5"}
    (warning,) = Settings.from_env({**HOME, name: usable.get(name, "x")}).warnings
    assert warning == f"{name} is set, but nothing in this version uses it yet."


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: variable.name)
def test_a_variable_that_nothing_reads_is_marked_as_planned_and_no_other(variable: Variable) -> None:
    """Its name as a field stands in the code outside the settings, or it must not be documented as working."""
    files = [REPOSITORY / "app.py", *(REPOSITORY / "chat").rglob("*.py"), *(REPOSITORY / "privacy").rglob("*.py")]
    code = "".join(file.read_text() for file in files if file.name != "settings.py")
    read = f"settings.{variable.name.lower()}" in code or variable.name in ("SPACE_ID", "SPACE_AUTHOR_NAME")
    assert read != variable.planned


def test_a_token_on_its_way_in_the_clear_is_warned_of() -> None:
    (warning,) = Settings.from_env({**HOME, "HF_TOKEN": "t", "HF_ENDPOINT": "http://hub.example"}).warnings
    assert warning.startswith("HF_ENDPOINT begins with http://")
    assert Settings.from_env({**HOME, "HF_TOKEN": "t", "HF_ENDPOINT": "http://127.0.0.1:1"}).warnings == ()


@given(st.dictionaries(st.sampled_from([variable.name for variable in VARIABLES]), st.text(max_size=30)))
def test_whatever_the_variables_hold_the_answer_is_settings_or_sentences(environ: dict[str, str]) -> None:
    with suppress(SettingsError):
        assert Settings.from_env({**HOME, **environ}).data_dir.is_absolute()


def test_hours_are_whole_and_of_one_day() -> None:
    assert Settings.from_env(HOME).share_hours is None
    assert Settings.from_env({**HOME, "SHARE_HOURS": "15, 3"}).share_hours == (3, 15)
    for wrong in ("24", "-1", "3;4", "three", "3,"):
        assert "SHARE_HOURS" in mistakes(SHARE_HOURS=wrong)
