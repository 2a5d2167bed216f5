"""The catalogue: which models visitors may pick, what is known about each, and which of them can run here.

catalog = Catalog.load(settings.models_file)                  # models.yaml
catalog = catalog.offering(settings.models, lookup)           # MODELS: exactly these, in this order
catalog = catalog.with_engine(settings.engine_url)            # ENGINE_URL: this one first
catalog = catalog.settled(machine, environ)                   # a default that can run; the starter if nothing can
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from chat.models.catalog_file import NAME, CatalogError, nearest, read_catalog
from chat.models.entry import ASSUMED_CONTEXT, Kind, ModelEntry, answer_that_fits, memory_for

__all__ = [
    "ASSUMED_CONTEXT",
    "Catalog",
    "CatalogError",
    "Kind",
    "Lookup",
    "LookupFailed",
    "Machine",
    "ModelEntry",
    "UnknownModel",
    "answer_that_fits",
    "entries_from_models",
    "entry_as_json",
    "memory_for",
]

STARTER = "parley-starter"
LOOKUP_SECONDS = 3.0  # for all look-ups together: the page waits for them
_AT_ONCE = 8  # look-ups under way at the same time
# What `text-generation` demands contradicts `huggingface_hub`, so that no requirements file, and no Space, can have it.
NO_TGI_CLIENT = (
    "The client for text-generation-inference is not installed here: `make run` installs it; on a Space give the entry "
    "kind openai, which such a server speaks too."
)


class UnknownModel(LookupError):
    """No entry has this name. `str(error)` names the nearest ones."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        names = list(known)
        near = nearest(name, names)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"Pick one of: {', '.join(names)}."
        super().__init__(f"There is no model {name!r} here. {hint}")
        self.name = name


class LookupFailed(Exception):
    """The Hub could not say what a repository is; `str(error)` says why and what to do. `passing`: it may say so later."""

    def __init__(self, sentence: str, passing: bool = False) -> None:
        super().__init__(sentence)
        self.passing = passing


class Lookup(Protocol):
    """What the Hub knows about a repository (`chat.models.lookup.ModelLookup`)."""

    def __call__(self, repo: str, revision: str | None) -> ModelEntry:
        """The entry made from the repository's config and card. Raises `LookupFailed`. Called from several threads."""
        ...


class Machine(Protocol):
    """The machine that the app's own engine runs on."""

    def cannot_run(self, memory_gib: float | None, needs_gpu: bool) -> str | None:
        """Why a model of this size (None: unknown) cannot run here, as a sentence; None if it can."""
        ...


@dataclass(frozen=True, slots=True)
class Catalog:
    """`entries` in the order they are shown; `default`: the name of the one that is picked for a new visitor.

    `reserve`: the starter model where `MODELS` leaves it out. It is offered only if nothing else can run.
    """

    entries: tuple[ModelEntry, ...]
    default: str
    reserve: ModelEntry | None = None

    @classmethod
    def load(cls, path: Path) -> Catalog:
        """The catalogue of a `models.yaml`. Raises `CatalogError`, which lists every mistake in it with its line."""
        return cls(*read_catalog(path))

    def entry(self, name: str) -> ModelEntry:
        """The entry called `name`. Raises `UnknownModel`."""
        for entry in self.entries:
            if entry.name == name:
                return entry
        raise UnknownModel(name, (entry.name for entry in self.entries))

    def offering(self, models: str | Sequence[str], lookup: Lookup) -> Catalog:
        """The catalogue that `MODELS` asks for: exactly these models, in this order, the first one the default.

        Where this catalogue has an entry of that name, what it says goes before what the Hub says; one that says
        enough is not looked up. The starter is held in reserve. Nothing in `models`: this catalogue as it is.
        Raises `CatalogError`.
        """
        entries = self._looked_up(models, lookup)
        if not entries:
            return self
        named = {entry.name for entry in entries}
        starter = next((entry for entry in self.entries if entry.name == STARTER and STARTER not in named), None)
        return Catalog(entries, entries[0].name, starter)

    def asked_again(self, lookup: Lookup) -> Catalog:
        """This catalogue with what the Hub says now of what it did not say before. Blocks for `LOOKUP_SECONDS` at most.

        Who made a model is known since the start, and agreed to: one with another author by now is left to a restart.
        """
        awaited = [entry for entry in self.entries if entry.awaited]
        items = [f"{entry.name}@{entry.revision}" if entry.revision else entry.name for entry in awaited]
        now = {}
        for entry, found in zip(awaited, self._looked_up(items, lookup), strict=True):
            moved = f"The Hub calls its author {found.author} now. Restart to offer it."
            same = found.author == entry.author
            now[entry.name] = (
                replace(found, name=entry.name) if same else replace(entry, unavailable=moved, awaited=False)
            )
        return replace(self, entries=tuple(now.get(entry.name, entry) for entry in self.entries))

    def with_engine(self, url: str | None, names: Sequence[str] = (), api_key_env: str | None = None) -> Catalog:
        """This catalogue with the OpenAI-compatible server at `url` first, as the default.

        `names`: what its `/v1/models` lists, one entry each; not known yet: one entry called after its host, whose
        `model` is empty, so that the engine adapter asks for it.
        """
        if not url:
            return self
        host = urlsplit(url).netloc
        served = tuple(
            ModelEntry(
                name or host.replace(":", "-"),
                kind="openai",
                model=name,
                label=name.split("/")[-1] or host,
                author=name.split("/")[0] if "/" in name else "",
                description=f"Answered by the server at {host}.",
                base_url=url,
                api_key_env=api_key_env,
            )
            for name in (names or ("",))
        )
        ours = {entry.name for entry in served}
        return replace(
            self,
            entries=(*served, *(entry for entry in self.entries if entry.name not in ours)),
            default=served[0].name,
        )

    def listing(
        self, machine: Machine, environ: Mapping[str, str] | None = None
    ) -> list[tuple[ModelEntry, str | None]]:
        """Every entry with the reason, one sentence, why it cannot be picked (None: it can).

        `environ`: where keys are looked for; without it, missing keys are no reason.
        """
        return [(entry, _reason(entry, machine, environ)) for entry in self.entries]

    def settled(self, machine: Machine, environ: Mapping[str, str] | None = None) -> Catalog:
        """This catalogue with a default that can be picked, and with the reserve if nothing else can be."""
        listed = self.listing(machine, environ)
        able = [entry.name for entry, reason in listed if reason is None]
        if not able and self.reserve:
            return Catalog((*self.entries, self.reserve), self.reserve.name)
        if not able or self.default in able:
            return self
        return replace(self, default=able[0])

    def _looked_up(self, models: str | Sequence[str], lookup: Lookup) -> tuple[ModelEntry, ...]:
        found = entries_from_models(models, self._laid_over(lookup))
        # What the file says of one holds where the Hub does not say anything, too.
        return tuple(
            stated.over(entry) if entry.unavailable and (stated := self._stated(entry.name, entry.revision)) else entry
            for entry in found
        )

    def _stated(self, name: str, revision: str | None) -> ModelEntry | None:
        """What this catalogue says of a model that `MODELS` names at `revision`; None: nothing."""
        stated = next((entry for entry in self.entries if entry.name == name), None)
        if stated is None:
            return None
        return replace(stated, revision=revision or stated.revision, stated=stated.stated | {"revision"})

    def _laid_over(self, lookup: Lookup) -> Lookup:
        def known(repo: str, revision: str | None) -> ModelEntry:
            stated = self._stated(repo, revision)
            if stated is None:
                return lookup(repo, revision)
            says_enough = stated.licence and stated.description and stated.memory_gib
            if says_enough or not stated.is_here or stated.is_folder:
                return stated
            return stated.over(lookup(repo, stated.revision))

        return known


def entries_from_models(
    models: str | Sequence[str], lookup: Lookup, within: float = LOOKUP_SECONDS
) -> tuple[ModelEntry, ...]:
    """The entries that `MODELS` names (`org/a,org/b@revision`), in its order, each made by `lookup`.

    A look-up that fails, or has not ended `within` seconds of the first one's beginning, leaves an entry that cannot be
    picked and says why: the app starts all the same. Raises `CatalogError` for what cannot be a repository, or is named
    twice.
    """
    items = [item.strip() for item in (models.split(",") if isinstance(models, str) else models) if item.strip()]
    mistakes = [
        f"MODELS holds {item!r}. Write repositories of the Hub, with commas between them: org/a,org/b@revision."
        for item in items
        if not NAME.fullmatch(item.split("@")[0]) or item.endswith("@") or item.count("@") > 1
    ]
    repos = [item.split("@")[0] for item in items]
    mistakes += [f"MODELS names {repo!r} twice. Name it once." for repo in sorted(set(repos)) if repos.count(repo) > 1]
    if mistakes:
        raise CatalogError(mistakes)

    def made(item: str) -> ModelEntry:
        repo, _, revision = item.partition("@")
        try:
            return lookup(repo, revision or None)
        except LookupFailed as error:
            return _greyed(item, str(error), error.passing)

    late = (
        f"The Hub did not answer within {within:g} s. It is asked again: reload in a minute, or check the network and "
        "HF_ENDPOINT."
    )
    found = _made_in_time(items, made, within)
    return tuple(found[item] if item in found else _greyed(item, late, awaited=True) for item in items)


def _greyed(item: str, why: str, awaited: bool) -> ModelEntry:
    repo, _, revision = item.partition("@")
    label, author = repo.split("/")[-1], repo.split("/")[0] if "/" in repo else ""
    return ModelEntry(
        repo, model=repo, revision=revision or None, label=label, author=author, unavailable=why, awaited=awaited
    )


def _made_in_time(items: Sequence[str], made: Callable[[str], ModelEntry], within: float) -> dict[str, ModelEntry]:
    """What `made` makes of each item, `_AT_ONCE` at a time, those left out that are not done `within` seconds.

    In daemon threads, not in an executor's, for which Python waits at its end: a Hub that stays silent must hold up
    neither the start nor the stop of the app.
    """
    waiting: queue.SimpleQueue[tuple[str, Future[ModelEntry]]] = queue.SimpleQueue()
    results: dict[str, Future[ModelEntry]] = {item: Future() for item in items}
    for pair in results.items():
        waiting.put(pair)

    def work() -> None:
        with suppress(queue.Empty):
            while True:
                item, result = waiting.get_nowait()
                if not result.set_running_or_notify_cancel():
                    continue
                try:
                    result.set_result(made(item))
                except BaseException as error:
                    result.set_exception(error)

    for number in range(min(_AT_ONCE, len(items))):
        threading.Thread(target=work, name=f"model-lookup-{number}", daemon=True).start()
    done, late = wait(results.values(), timeout=within)
    for result in late:
        result.cancel()
    return {item: result.result() for item, result in results.items() if result in done}


_CHECKS: tuple[Callable[[ModelEntry, Mapping[str, str]], str | None], ...] = (
    lambda entry, environ: (
        f"It needs the secret {entry.api_key_env}, which is not set."
        if entry.api_key_env and not environ.get(entry.api_key_env)
        else None
    ),
    lambda entry, environ: (
        f"Its author asks that a licence be accepted first: do so at {entry.card_url} and set HF_TOKEN."
        if entry.gated and entry.is_here and not environ.get("HF_TOKEN")
        else None
    ),
    lambda entry, environ: (
        "Hosted inference needs HF_TOKEN, which is not set."
        if entry.kind == "hosted" and not (entry.api_key_env or environ.get("HF_TOKEN"))
        else None
    ),
)


def _reason(entry: ModelEntry, machine: Machine, environ: Mapping[str, str] | None) -> str | None:
    if entry.unavailable:
        return entry.unavailable
    if entry.is_folder and not Path(entry.model).is_dir():
        return "The folder with its weights is not there."
    if entry.kind == "tgi" and find_spec("text_generation") is None:
        return NO_TGI_CLIENT
    if entry.is_here and (reason := machine.cannot_run(entry.memory_gib, entry.needs_gpu)):
        return reason
    if environ is None:
        return None
    return next((reason for check in _CHECKS if (reason := check(entry, environ))), None)


def entry_as_json(entry: ModelEntry, reason: str | None, *, default: bool = False) -> dict[str, Any]:
    """What the page and `/api/models` show of an entry. No folder or name of a key is in it, and of an address the host
    alone, since it is who reads what is asked."""
    return {
        "name": entry.name,
        "label": entry.label or entry.name,
        "author": entry.author,
        "description": entry.description,
        "card_url": entry.card_url,
        "website": entry.website,
        "licence": entry.licence,
        "training_data": entry.training_data,
        "context": entry.context,
        "billion_parameters": entry.billion_parameters,
        "memory_gib": entry.memory_gib,
        "needs_gpu": entry.needs_gpu,
        "gated": entry.gated,
        "reasoning": entry.reasoning,
        "revision": entry.revision,
        "answered_by": entry.answered_by,
        "continues": entry.may_continue,
        "categories": {
            "language": list(entry.languages),
            "domain": list(entry.domain),
            "style": list(entry.style),
            "difficulty": list(entry.difficulty),
        },
        "available": reason is None,
        "reason": reason,
        "defaults": entry.defaults.as_dict(),
        "default": default,
    }
