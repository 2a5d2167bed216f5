"""Parley: composition root. `build(settings)` makes the whole app; only running this file starts it."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress

import uvicorn
from fastapi import FastAPI

from chat.db import Database, DatabaseError
from chat.engines.machine import Machine
from chat.engines.pool import EnginePool, build_server
from chat.generation import Generations
from chat.hub import ModelLookup
from chat.hush import hush
from chat.models.catalog import Catalog, CatalogError
from chat.service import ChatService
from chat.settings import Settings, SettingsError
from chat.store import Store
from chat.visitors.asking import WhoIsAsking, answer_refusals
from chat.visitors.oauth import Provider, SignIn
from chat.visitors.sessions import Sessions, hub_whoami
from chat.web import api, page, pages, routes
from chat.web.account import account_routes
from chat.web.live import LiveAnswers

EXPIRY_SECONDS = 3600.0


def build(
    settings: Settings, environ: Mapping[str, str] = os.environ, clock: Callable[[], float] = time.time
) -> FastAPI:
    """The app: page, routes and endpoints over one database and one pool of engines.

    `environ` is what engines inherit and where their keys are. Raises `DatabaseError` and `CatalogError`, whose sentences
    say what to do.
    """
    machine = Machine.detect()
    catalog = Catalog.load(settings.models_file)
    if settings.models:
        catalog = catalog.offering(settings.models, ModelLookup(settings.hf_endpoint, settings.hf_token))
    if settings.engine_url:
        catalog = catalog.with_engine(
            settings.engine_url, api_key_env="ENGINE_API_KEY" if settings.engine_api_key else None
        )
    catalog = catalog.settled(machine, environ)
    unavailable = {entry.name: reason for entry, reason in catalog.listing(machine, environ) if reason}

    db = Database.open(settings.data_dir)
    store = Store(db, clock)
    pool = EnginePool(
        catalog.entries,
        machine=machine,
        make_server=lambda entry: build_server(entry, machine, settings.data_dir / "run", environ),
        environ=environ,
    )
    generations = Generations(store.checkpoint, time.monotonic)
    service = ChatService(store, catalog, pool, generations, unavailable)
    sessions = Sessions(db, clock, hub_whoami(settings.hf_endpoint))
    provider = Provider.of(
        settings.openid_provider_url, settings.oauth_client_id, settings.oauth_client_secret, settings.oauth_scopes
    )
    sign_in = SignIn(provider, clock) if provider else None

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        await pool.warm(catalog.default)
        expiry = asyncio.create_task(expire_forever(sessions, service, clock))
        # What was made until here stays: the collector need not look at it again and again.
        gc.freeze()
        try:
            yield
        finally:
            expiry.cancel()
            await service.stop()
            await pool.aclose()
            db.close()

    app = FastAPI(title="Parley", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    answer_refusals(app)
    routes.answer_errors(app)
    app.include_router(account_routes(sessions, sign_in, settings.on_space, settings.space_host))
    app.include_router(routes.router(service, LiveAnswers(generations)))
    app.include_router(pages.router(lambda: routes.models_as_json(service), facts_of(settings)))
    gradio = page.mount(
        app, page.build(extra=lambda: api.register(service)), blocked_paths=[str(settings.data_dir)]
    )
    routes.answer_errors(gradio)
    app.add_middleware(page.Headers)
    app.add_middleware(
        WhoIsAsking,
        sessions=sessions,
        allowed_origins=settings.allowed_origins,
        secure=settings.on_space,
        public_host=settings.space_host,
    )
    return app


def facts_of(settings: Settings) -> pages.Facts:
    """What the About page links to: on a Space, its files and its discussions."""
    space = f"https://huggingface.co/spaces/{settings.space_id}" if settings.on_space else None
    return pages.Facts(
        code_url=f"{space}/tree/main" if space else None, discussions_url=f"{space}/discussions" if space else None
    )


async def expire_forever(sessions: Sessions, service: ChatService, clock: Callable[[], float]) -> None:
    """Once an hour, delete what anonymous owners left behind 30 days ago. An hour that fails does not end the next one."""
    while True:
        try:
            for owner in await sessions.expire(clock()):
                await service.delete(owner)
                await sessions.forget(owner)
        except Exception as error:
            print(f"What expired could not be deleted ({type(error).__name__}); it is tried again in an hour.", file=sys.stderr)
        await asyncio.sleep(EXPIRY_SECONDS)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Exits with a sentence that names what to change."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # The protocol is named so that asyncio turns Nagle's algorithm off: without it each answer waits up to 40 ms.
        listener = socket.socket(family, kind, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except socket.gaierror:
        sys.exit(f"HOST {host} is not known here. Set HOST to an address of this machine, such as 127.0.0.1.")
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            sys.exit(f"HOST {host} is no address of this machine. Set HOST to one that is, such as 127.0.0.1.")
        if error.errno == errno.EACCES:
            sys.exit(f"Port {port} may not be used by this user. Set PORT to one above 1023: PORT=7860 make run")
        sys.exit(
            f"Port {port} of {host} is in use ({error.strerror}). Stop what uses it, or set PORT to another one: "
            f"PORT={port + 1 if port < 65535 else 7860} make run"
        )
    return listener


def main() -> None:
    try:
        settings = Settings.from_env(os.environ)
        listener = listen(settings.host, settings.port)
        app = build(settings)
    except (SettingsError, CatalogError, DatabaseError) as error:
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
