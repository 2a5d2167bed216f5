"""One run: operations drawn from the seed, then everything healed, then the oracle."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from chat.scrub import rewrite, scrub

from .killing import PACE, run_and_kill
from .oracle import Oracle, Outcome
from .users import Users
from .world import REPO, Clock, FailingHub, Operator, Replica, Stop, bytes_below, meddling

OPERATIONS = {"users": 62, "sync": 30, "both sync": 3, "crash": 3, "revoke": 1, "rotate": 0.5}
SAFE = 20  # beside these, with a bucket: only what is new is put there
MEDDLING = {"crash": 0.06, "users": 0.06, "sync": 0.06}  # shares of the moments of a sync
LOSES_THE_DISK = 0.5  # of crashes
BUCKET_AWAY = 0.3  # of the syncs: who keeps the bucket has failed, and waits
KILLS_EVERY = 125  # operations; each is a real process
ROUNDS = 80  # of two minutes in the end, until nothing is left to do
QUOTA = 128
AFTER_THE_LEASE = 700.0  # seconds


async def chaos(seed: int, operations: int, folder: Path, bucket: bool = False) -> Outcome:
    """`operations` under `seed` in the empty `folder`, and what came of it."""
    random.seed(seed)  # the app's own draws: how long it waits before it tries again
    run = _Run(seed, operations, folder, bucket)
    with run.failing.hub:
        try:
            await run.live()
            await run.end()
        finally:
            run.close()
    return run.outcome


class _Run:
    def __init__(self, seed: int, operations: int, folder: Path, bucket: bool) -> None:
        self.seed = seed
        self.operations = operations
        self.folder = folder
        self.clock = Clock(time.time())
        self.outcome = Outcome(seed, bucket)
        self.oracle = Oracle(self.outcome)
        self.failing = FailingHub(folder / "hub", seed, self.clock)
        self.replicas: list[Replica] = []
        self.users: dict[str, Users] = {}
        self.machines = 0
        self.revoked: dict[str, int] = {}

    # -- living -----------------------------------------------------------------------------------------------------

    async def live(self) -> None:
        for name, skew in (("a", 0.0), ("b", 2.5)):
            self.replicas.append(
                Replica(name, self.failing.hub, self.clock.skewed(skew), self.folder, self.outcome.bucket)
            )
            await self._welcome(self.replicas[-1])
        self.failing.fail()
        self.failing.hub.limits.commits_per_hour = QUOTA
        done = 0
        while done < self.operations:
            rng = random.Random(f"{self.seed} {done}")
            weights = {**OPERATIONS, "safe": SAFE * self.outcome.bucket}
            (kind,) = rng.choices(list(weights), list(weights.values()))
            if done >= KILLS_EVERY * (self.outcome.counts["kill -9"] + 0.5):
                kind = "kill -9"
            self.clock.now += rng.expovariate(1 / 5)
            replica = rng.choice(self.replicas)
            await self._operator(done)
            done += await self._operate(kind, replica, rng)
        self.outcome.operations = done

    async def _operate(self, kind: str, replica: Replica, rng: random.Random) -> int:
        """Do it, and return as how many operations it counts."""
        self.outcome.counts[kind] += 1
        if kind == "users":
            many = rng.choice((1, 1, 2, 3))
            rngs = [random.Random(rng.random()) for _ in range(many)]
            at = [rng.choice(self.replicas) for _ in range(many)]
            await asyncio.gather(*(self._act(where, own) for where, own in zip(at, rngs, strict=True)))
            return many
        if kind == "sync":
            await self._sync(replica, rng)
        elif kind == "both sync":
            self.clock.now += rng.uniform(1, 90)
            await asyncio.gather(*(each.app.work() for each in self.replicas))
        elif kind == "safe":
            self.clock.now += 0.5
            await self._work(replica, replica.app.ahead._turn, rng)
        elif kind == "crash":
            await self._crash(replica, rng)
        elif kind == "revoke":
            self.failing.hub.revoke(replica.token)
            self.revoked.setdefault(replica.name, self._now() + rng.randrange(5, 25))
        elif kind == "rotate":
            if self.failing.hub.repo_path("dataset", REPO).is_dir():
                await self._rotate(rng)
        else:
            await self._kill(replica, rng)
        return 1

    def _now(self) -> int:
        return sum(self.outcome.counts.values())

    async def _act(self, replica: Replica, rng: random.Random) -> None:
        self.outcome.counts[f"user: {await self.users[replica.name].act(rng)}"] += 1

    async def _sync(self, replica: Replica, rng: random.Random) -> None:
        self.clock.now += rng.uniform(1, 90) if rng.random() < 0.9 else rng.uniform(300, 900)
        only_the_dataset = rng.random() < BUCKET_AWAY
        await self._work(replica, replica.app.backup._turn if only_the_dataset else replica.app.work, rng)

    async def _work(self, replica: Replica, work: Callable[[], Awaitable[None]], rng: random.Random) -> None:
        (other,) = [each for each in self.replicas if each is not replica]
        nested = random.Random(rng.random())

        async def meanwhile(name: str) -> None:
            self.outcome.counts[f"meanwhile: {name}"] += 1
            if name == "sync":
                await other.app.work()
            else:
                await self._act(nested.choice(self.replicas), nested)

        try:
            with meddling(replica, nested, MEDDLING, meanwhile):
                await work()
        except Stop:
            await self._crash(replica, rng)
        await self._told(replica)

    async def _told(self, replica: Replica) -> None:
        purged = self.oracle.told(replica.life, *await replica.app.levels())
        self.oracle.where_it_was_called(self.failing.bucket, self.failing.objects)
        if purged:
            self.outcome.counts["purged: looked"] += 1
            for _ in range(3):  # what reads the database may keep it from being done
                if await scrub(replica.app.db) and await rewrite(replica.app.db):
                    break
            self.oracle.purged_text(self.failing.objects(), f"the dataset when {replica.name} calls it purged")
            self.oracle.purged_text(self.failing.bucket(), f"the bucket when {replica.name} calls it purged")
            self.oracle.purged_text(bytes_below(replica.disk), f"the disk {replica.life}")
        if any("error of its own" in report for report in replica.app.machine.reports):
            raise AssertionError(f"{replica.name}: {replica.app.machine.reports}")

    async def _crash(self, replica: Replica, rng: random.Random) -> None:
        await self._told(replica)
        replica.end()
        await self._come_back(replica, rng.random() < LOSES_THE_DISK)

    async def _come_back(self, replica: Replica, loses: bool) -> None:
        self.outcome.counts["disk lost" if loses else "disk kept"] += 1
        if loses:
            self.oracle.disk_lost(replica.life)
            replica.new_disk()
        else:
            replica.open()
            self.oracle.disk_kept(replica.life, await replica.app.contents())
        await self._welcome(replica)

    async def _welcome(self, replica: Replica) -> None:
        """What the app does at its start."""
        self.machines += 1
        await replica.app.start()
        self.users[replica.name] = Users(
            replica.app.machine, f"{self.seed}-{self.machines}", partial(self.oracle.note, replica.life)
        )

    async def _kill(self, replica: Replica, rng: random.Random) -> None:
        """A process of its own goes on with the disk, until it is killed; the other replica goes on meanwhile."""
        await self._told(replica)
        replica.end()
        self.machines += 1
        seconds, prefix = rng.uniform(0.1, 1.5), f"{self.seed}-{self.machines}"
        began = time.monotonic()
        told = await run_and_kill(replica, prefix, self.clock.now, seconds)
        self.clock.now += (time.monotonic() - began) * PACE
        did, before = 0, self.oracle.acknowledged
        for line in told:
            if line["kind"] == "looking":
                before = self.oracle.acknowledged
            elif line["kind"] == "told":
                self.oracle.told(replica.life, line["conversations"], line["tombstones"], before)
            else:
                self.oracle.note(replica.life, line["kind"], line["text"], line["conversation"])
                did += line["kind"] in ("write", "delete")
        self.oracle.where_it_was_called(self.failing.bucket, self.failing.objects)
        self.outcome.counts["killed: acknowledged"] += did
        await self._come_back(replica, rng.random() < LOSES_THE_DISK)

    async def _rotate(self, rng: random.Random) -> None:
        """The operator stops both, makes the dataset anew, as often as it takes, and starts both again."""
        for replica in self.replicas:
            await self._told(replica)
            replica.end()
        self.clock.now += AFTER_THE_LEASE
        operator = Operator(self.failing.hub, self.clock, random.Random(rng.random()))
        self.outcome.counts["rotate: tries"] += await asyncio.to_thread(operator.rotate)
        for replica in self.replicas:
            await self._come_back(replica, loses=False)

    async def _operator(self, done: int) -> None:
        """Whoever finds a token revoked gives a new one, which takes a restart."""
        for replica in self.replicas:
            if self.revoked.get(replica.name, self._now() + 1) <= self._now():
                del self.revoked[replica.name]
                await self._told(replica)
                replica.end()
                replica.token = self.failing.hub.add_token("ada")
                await self._come_back(replica, loses=False)

    # -- the end ----------------------------------------------------------------------------------------------------

    async def end(self) -> None:
        """Heal, let all come together, purge, and compare everything with what was acknowledged."""
        self.outcome.struck = self.failing.struck()
        self.failing.heal()
        for replica in self.replicas:
            replica.end()
            replica.token = self.failing.hub.add_token("ada")
            await self._come_back(replica, loses=False)
        await self._settle()
        fresh = Replica("fresh", self.failing.hub, self.clock, self.folder, self.outcome.bucket)
        self.replicas.append(fresh)
        await fresh.app.backup.pull()
        if fresh.app.ahead:
            await fresh.app.ahead.flush()
        states = {replica.name: await replica.app.machine.everything() for replica in self.replicas}
        self.close()
        disks = {f"the disk {replica.life}": bytes_below(replica.disk) for replica in self.replicas}
        bytes_of = {"the dataset": self.failing.objects(), "the bucket": self.failing.bucket(), **disks}
        self.oracle.ends(states, bytes_of)

    async def _settle(self) -> None:
        """Let the app do what it does, until nothing is left to do."""
        for _ in range(ROUNDS):
            for replica in self.replicas:
                self.clock.now += (
                    60.0  # so that each has its next turn while it holds the lease that it took in this one
                )
                await replica.app.work()
                await self._told(replica)
            if not [True for replica in self.replicas if await self._waits(replica)]:
                return
        told = "; ".join([f"{replica.name}: {await self._waits(replica)}" for replica in self.replicas])
        self.outcome.violations.append(f"after {ROUNDS * 2} minutes with a Hub that is well something waits: {told}")

    async def _waits(self, replica: Replica) -> str:
        backlog = await replica.app.backlog()
        unpurged = await replica.app.machine.figure(
            "SELECT count(*) FROM tombstones WHERE purged_at IS NULL OR purged_at < deleted_at"
        )
        others = [each for each in self.replicas if each is not replica]
        alike = all([await replica.app.machine.everything() == await each.app.machine.everything() for each in others])
        objects = await replica.app.objects()
        if not backlog and not unpurged and not objects and alike:
            return ""
        found = f"backlog {backlog}, {unpurged} not purged, {objects} objects in the bucket"
        return f"{found}, {'alike' if alike else 'not alike'}, {replica.app.keeping.problem}"

    def close(self) -> None:
        for replica in self.replicas:
            if not replica.ended:
                replica.end()
