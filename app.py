"""Parley: composition root. `build(settings)` makes the whole app; only running this file starts it."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import uvicorn
from fastapi import Depends, FastAPI

from chat.backup import Backup, PublicDataset
from chat.db import MIGRATIONS, Database, DatabaseError
from chat.defaults import OwnDefaults
from chat.engines.machine import Machine
from chat.engines.pool import EnginePool, build_server
from chat.everything import conversations_of
from chat.feedback import FeedbackBook
from chat.forever import forever
from chat.generation import Generations
from chat.hush import hush
from chat.keeping import Keeping
from chat.lease import Lease
from chat.library import Library
from chat.listening import listen
from chat.models.catalog import Catalog, CatalogError
from chat.models.lookup import ModelLookup
from chat.models.offer import Offer
from chat.repositories import private_repo, sharing_repo, slots_of, write_ahead_of
from chat.scrub import scrub_forever
from chat.service import ChatService, cache_salt
from chat.settings import Settings, SettingsError
from chat.store import Store
from chat.temporary import TemporaryChats
from chat.titles import Titles
from chat.visitors.asking import WhoIsAsking, answer_refusals
from chat.visitors.oauth import Provider, SignIn
from chat.visitors.returning import Returning
from chat.visitors.session_rows import DAY, LIFETIME
from chat.visitors.sessions import Sessions, hub_whoami
from chat.web import api, defaults, deletions, feedback, lists, operator, page, pages, routes
from chat.web.account import account_routes
from chat.web.live import LiveAnswers
from chat.web.temporary import temporary_router
from privacy import MIGRATIONS as PRIVACY_MIGRATIONS
from privacy import policy, redaction
from privacy.access import EVERY as ACCESS_EVERY
from privacy.access import Access
from privacy.audit import Expected
from privacy.closing import erase_closed
from privacy.consent import Consent, Terms, agreed_now
from privacy.extra import saved_parts, takes_back, waits_to_leave
from privacy.forgetting import forget_reports
from privacy.push import CALLER
from privacy.rows import Redaction, Rules, dataset_id
from privacy.running import Running
from privacy.sharing import Sharing
from privacy.web import deciding, everything
from privacy.web import page as privacy_page
from privacy.web import reports as privacy_reports
from privacy.web import routes as privacy_routes
from privacy.web.desk import Desk
from privacy.web.framed import Unframed

EXPIRY_SECONDS = 3600.0
HEAD_START_SECONDS = 3.0  # of the page, before an empty disk is filled


def build(
    settings: Settings, environ: Mapping[str, str] = os.environ, clock: Callable[[], float] = time.time
) -> FastAPI:
    """The app: page, routes and endpoints over one database, one pool of engines and the datasets.

    `environ` is what engines inherit and where their keys are. Raises `DatabaseError`, `CatalogError` and `PublicDataset`,
    whose sentences say what to do.
    """
    machine = Machine.detect()
    db = Database.open(settings.data_dir, migrations={**MIGRATIONS, "privacy": PRIVACY_MIGRATIONS})
    terms = Terms(policy.stale_from())
    store = Store(db, clock, lambda *written: agreed_now(*written, terms, clock()))
    slots = slots_of(settings, clock)
    repo, every = private_repo(settings, slots), settings.sync_seconds
    lease, running = Lease(clock), Running(db, clock, settings.quiet_hours * 3600)
    parts = (*saved_parts(db), running)
    backup = Backup(
        store,
        repo,
        clock,
        every=every,
        extras=parts,
        slots=slots,
        report=tell_operator,
        lease=lease,
        wants_lease=lambda: db.read(waits_to_leave),
        takes_back=lambda: db.read(takes_back),
        head_start=HEAD_START_SECONDS,
    )
    keeping = Keeping(
        backup, write_ahead_of(settings, db, clock, parts, backup, tell_operator), outlives=slots is not None
    )
    # Both ask the Hub, and a start waits for it once.
    answered = keeping.ask()
    offer = offer_of(settings, machine, environ)
    answered()

    catalog = offer.catalog
    pool = EnginePool(
        catalog.entries,
        machine=machine,
        make_server=lambda entry: build_server(entry, machine, settings.data_dir / "run", environ),
        environ=environ,
    )
    generations = Generations(store.checkpoint, time.monotonic)
    titles = Titles(store, pool, cache_salt)
    service = ChatService(store, catalog, pool, generations, offer.unavailable, titles)
    library = Library(store, generations, titles, settings.retention_days, report=tell_operator)
    temporary = TemporaryChats(catalog, pool, offer.unavailable, clock, time.monotonic)
    sessions = Sessions(db, clock, hub_whoami(settings.hf_endpoint))

    rules = sharing_rules(settings, catalog)
    sharing = Sharing(
        db,
        rules,
        lambda id: sharing_repo(settings, id, slots),
        open_to_write=lambda id: sharing_repo(settings, id, slots, CALLER),
        clock=clock,
        before_public=keeping.exchange,
        holds_lease=lease.held,
        slots=slots,
        expected=Expected(rules.terms, rules.blocked, settings.share_readers),
    )
    lease.taken = sharing.hurry
    datasets = {dataset_id(rules, model): author for model, author in rules.authors.items() if author}
    access = Access(db, lambda id: sharing_repo(settings, id, slots), clock, settings.share_readers, datasets)

    async def close(owner: str) -> None:
        await service.delete(owner)
        await sessions.close(owner)

    async def forget() -> None:
        await forget_reports(db, clock(), keeping.exchange, backup.purge, lease.held)

    async def offered() -> None:
        for chats in (service, temporary.service):
            chats.offer(offer.catalog, offer.unavailable)
        pool.offer(offer.catalog.entries)
        await pool.warm(offer.catalog.default)

    async def figures() -> dict[str, Any]:
        return {**await keeping.figures(), "shared": await sharing.figures(), "access": access.figures()}

    desk = desk_of(settings, catalog, store, clock, rules, keeping, sharing, close, access)
    returning = Returning(backup.owners_back, backup.arrivals, time.monotonic)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        await sharing.begin()
        await running.begin()
        await library.start()
        await pool.warm(catalog.default)
        parts: dict[str, Callable[[], Awaitable[None]]] = {
            **keeping.parts(),
            "Sharing": lambda: sharing.run(keeping, every, tell_operator),
            "Looking who may read": lambda: access.run(min(ACCESS_EVERY, every)),
            "Deleting what expired": lambda: expire_forever(keeping, sessions, service, clock, forget),
            "Clearing the database's pages": lambda: scrub_forever(db),
            "Ending temporary chats": temporary.run,
            "The list": library.run,
            "Asking the Hub for models": lambda: offer.run(offered),
        }
        tasks = [asyncio.create_task(forever(what, run, tell_operator)) for what, run in parts.items()]
        # What was made until here stays: the collector need not look at it again and again.
        gc.freeze()
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await service.stop()
            lease.close()
            await temporary.aclose()
            if keeping.outlives:
                await library.finish()
            await running.stop()
            await asyncio.gather(pool.aclose(), keeping.last_save())
            db.close()

    app = FastAPI(title="Parley", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    answer_refusals(app)
    routes.answer_errors(app)
    book = FeedbackBook(db, clock)
    for of_an_owner in (
        account_routes(sessions, sign_in_of(settings, clock), settings.on_space, settings.space_host),
        routes.router(service, LiveAnswers(generations), book, outlives=keeping.outlives),
        feedback.feedback_routes(book),
        defaults.defaults_routes(OwnDefaults(db, clock), service),
        lists.list_routes(library, keeping.outlives, keeping.is_whole),
        deletions.router(db, keeping.outlives),
    ):
        app.include_router(of_an_owner, dependencies=[Depends(returning.theirs)])
    app.include_router(routes.catalogue_router(service))
    app.include_router(temporary_router(temporary))
    operators = [name.lower() for name in settings.operators]
    app.include_router(operator.router(figures, operators))
    app.include_router(privacy_routes.router(desk))
    app.include_router(privacy_reports.router(desk, tell_operator, settings.on_space))
    app.include_router(deciding.router(desk, operators))
    app.include_router(everything.router(desk, lambda owner: conversations_of(db, owner)))
    privacy_page.mount(app, place_of(settings, rules, routes.models_as_json(service)), desk.unframed)
    app.include_router(pages.router(lambda: routes.models_as_json(service), facts_of(settings)))
    blocks = page.build(extra=lambda: api.register(service), readers_url="/api/privacy/chip")
    routes.answer_errors(page.mount(app, blocks, blocked_paths=[str(settings.data_dir)]))
    app.add_middleware(page.Headers)
    app.add_middleware(
        WhoIsAsking,
        sessions=sessions,
        allowed_origins=settings.allowed_origins,
        secure=settings.on_space,
        public_host=settings.space_host,
        owners_back=returning.owner,
    )
    return app


def offer_of(settings: Settings, machine: Machine, environ: Mapping[str, str]) -> Offer:
    """The models on offer: `models.yaml`, narrowed by `MODELS`, with the server at `ENGINE_URL` first."""
    lookup = ModelLookup(settings.hf_endpoint, settings.hf_token)
    catalog = Catalog.load(settings.models_file).offering(settings.models, lookup)
    key = "ENGINE_API_KEY" if settings.engine_api_key else None
    return Offer(catalog.with_engine(settings.engine_url, api_key_env=key), machine, environ, lookup)


def sign_in_of(settings: Settings, clock: Callable[[], float]) -> SignIn | None:
    """Signing in with Hugging Face; None where the Space has no client for it."""
    provider = Provider.of(
        settings.openid_provider_url, settings.oauth_client_id, settings.oauth_client_secret, settings.oauth_scopes
    )
    return SignIn(provider, clock) if provider else None


def facts_of(settings: Settings) -> pages.Facts:
    """What the About page links to: on a Space, its files and its discussions."""
    space = f"https://huggingface.co/spaces/{settings.space_id}" if settings.on_space else None
    return pages.Facts(
        code_url=f"{space}/tree/main" if space else None,
        discussions_url=f"{space}/discussions" if space else None,
        contact=settings.contact,
    )


def sharing_rules(settings: Settings, catalog: Catalog) -> Rules:
    """What sharing goes by. What is public must be known again on an empty disk: without a namespace, a private dataset
    and a token nobody can be agreed to. What was shared before stays known."""
    is_set_up = bool(settings.share_namespace and settings.store_dataset and settings.hf_token)
    return Rules(
        namespace=settings.share_namespace or "",
        prefix=settings.share_prefix,
        quiet=settings.quiet_hours * 3600,
        terms=Terms(policy.stale_from()),
        authors={entry.name: entry.author for entry in catalog.entries} if is_set_up else {},
        redaction=Redaction(redaction.VERSION, redaction.redact, redaction.Placeholders),
        hours=hours_of(settings),
        blocked=settings.share_blocked,
        texts=policy.templates(),
    )


def hours_of(settings: Settings) -> tuple[int, ...]:
    """The hours of the day, UTC, in which new rows are shared; none: at any time."""
    if settings.share_hours is not None:
        return settings.share_hours
    return (3,) if settings.quiet_hours else ()


def tell_operator(sentence: str) -> None:
    print(f"Note: {sentence}", file=sys.stderr, flush=True)


def place_of(settings: Settings, rules: Rules, models: Sequence[Mapping[str, Any]]) -> privacy_page.Place:
    """What the Privacy page and the terms say about this copy."""
    dataset = settings.store_dataset if settings.hf_token else None
    house = policy.House(
        licence=rules.licence,
        quiet_hours=settings.quiet_hours,
        minimum_age=settings.minimum_age,
        anonymous_days=round(LIFETIME / DAY),
        rows_a_month=rules.most,
        dataset=dataset,
        custodian=dataset.partition("/")[0] if dataset else None,
        contact=settings.contact,
    )
    url = f"{settings.hf_endpoint}/datasets/{dataset}" if dataset else None
    return privacy_page.Place(house, models, url, secure=settings.on_space)


def desk_of(
    settings: Settings,
    catalog: Catalog,
    store: Store,
    clock: Callable[[], float],
    rules: Rules,
    keeping: Keeping,
    sharing: Sharing,
    close: Callable[[str], Awaitable[None]],
    access: Access,
) -> Desk:
    """What the Privacy page's routes work with."""

    async def model_of(owner: str, conversation: str) -> str:
        return (await store.conversation(owner, conversation)).model

    def wake() -> None:
        sharing.hurry()
        keeping.backup.hurry()

    return Desk(
        store.db,
        clock,
        Consent(store.db, clock, rules.terms),
        rules,
        labels={entry.name: entry.label for entry in catalog.entries},
        model_of=model_of,
        saving=keeping.told,
        held_up=lambda: bool(sharing.problems),
        wake=wake,
        restored=keeping.is_set,
        unframed=Unframed(clock, (settings.hf_endpoint, *settings.allowed_origins)),
        close=close,
        is_whole=keeping.is_whole,
        minimum_age=settings.minimum_age,
        can_sign_in=settings.can_sign_in,
        nobody_in=access.nobody_in,
    )


async def expire_forever(
    keeping: Keeping,
    sessions: Sessions,
    service: ChatService,
    clock: Callable[[], float],
    forget: Callable[[], Awaitable[None]],
) -> None:
    """Once an hour, delete what anonymous owners left behind 30 days ago, and `forget` what reports said. An hour that fails
    does not end the next one."""
    if not await keeping.is_whole():
        await keeping.wait()  # what came back later would not go
    while True:
        try:
            for owner in await sessions.expire(clock()):
                await service.delete(owner)
                await sessions.forget(owner)
            await sessions.db.write(erase_closed)
            await forget()
        except Exception as error:
            print(
                f"What expired could not be deleted ({type(error).__name__}); it is tried again in an hour.",
                file=sys.stderr,
            )
        await asyncio.sleep(EXPIRY_SECONDS)


def main() -> None:
    try:
        settings = Settings.from_env(os.environ)
        listener = listen(settings.host, settings.port)
        app = build(settings)
    except (SettingsError, CatalogError, DatabaseError, PublicDataset) as error:
        sys.exit(str(error))
    for warning in settings.warnings:
        print(f"Note: {warning}", file=sys.stderr)
    print(f"Parley is on http://{settings.host}:{settings.port}", flush=True)
    # Until here nobody has said anything, and an error of the start may be shown whole.
    hush()
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=3)
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
