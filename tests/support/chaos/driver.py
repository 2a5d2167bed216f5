"""One run: operations drawn from the seed, then everything healed, then the oracle."""

from __future__ import annotations

import asyncio
import random
import time
from functools import partial
from pathlib import Path

from chat.scrub import scrub

from .killing import PACE, run_and_kill
from .oracle import Oracle, Outcome
from .users import Users
from .world import Clock, FailingHub, Replica, Stop, bytes_below, levels, meddling

OPERATIONS = {"users": 62, "sync": 30, "both sync": 3, "crash": 3, "revoke": 1}
MEDDLING = {"crash": 0.03, "users": 0.06, "sync": 0.06}  # shares of the moments of a sync
LOSES_THE_DISK = 0.3  # of crashes
KILLS_EVERY = 125  # operations; each is a real process
ROUNDS = 40  # of four minutes in the end, until nothing is left to do
QUOTA = 128


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
            self.replicas.append(Replica(name, self.failing.hub, self.clock.skewed(skew), self.folder))
            await self._welcome(self.replicas[-1])
        self.failing.fail()
        self.failing.hub.limits.commits_per_hour = QUOTA
        done = 0
        while done < self.operations:
            rng = random.Random(f"{self.seed} {done}")
            (kind,) = rng.choices(list(OPERATIONS), list(OPERATIONS.values()))
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
            await asyncio.gather(*(each.machine.backup._turn() for each in self.replicas))
        elif kind == "crash":
            await self._crash(replica, rng)
        elif kind == "revoke":
            self.failing.hub.revoke(replica.token)
            self.revoked.setdefault(replica.name, self._now() + rng.randrange(5, 25))
        else:
            return await self._kill(replica, rng)
        return 1

    def _now(self) -> int:
        return sum(self.outcome.counts.values())

    async def _act(self, replica: Replica, rng: random.Random) -> None:
        self.outcome.counts[f"user: {await self.users[replica.name].act(rng)}"] += 1

    async def _sync(self, replica: Replica, rng: random.Random) -> None:
        self.clock.now += rng.uniform(1, 90) if rng.random() < 0.9 else rng.uniform(300, 900)
        (other,) = [each for each in self.replicas if each is not replica]
        nested = random.Random(rng.random())

        async def meanwhile(name: str) -> None:
            self.outcome.counts[f"meanwhile: {name}"] += 1
            if name == "sync":
                await other.machine.backup._turn()
            else:
                await self._act(nested.choice(self.replicas), nested)

        try:
            with meddling(replica, nested, MEDDLING, meanwhile):
                await replica.machine.backup._turn()
        except Stop:
            await self._crash(replica, rng)
        await self._told(replica)

    async def _told(self, replica: Replica) -> None:
        if self.oracle.told(replica.life, *await levels(replica.machine)):
            self.outcome.counts["purged: looked"] += 1
            for _ in range(3):  # what reads the database may keep it from being done
                if await scrub(replica.machine.db):
                    break
            self.oracle.purged_text(self.failing.objects(), "the dataset")
            self.oracle.purged_text(self.failing.bucket(), "the bucket")
            self.oracle.purged_text(bytes_below(replica.disk), f"the disk {replica.life}")
        if any("error of its own" in report for report in replica.machine.reports):
            raise AssertionError(f"{replica.name}: {replica.machine.reports}")

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
            self.oracle.disk_kept(replica.life, await replica.contents())
        await self._welcome(replica)

    async def _welcome(self, replica: Replica) -> None:
        """What the app does at its start."""
        self.machines += 1
        await replica.start()
        await replica.machine.store.interrupt_running("The app was restarted.")
        self.users[replica.name] = Users(
            replica.machine, f"{self.seed}-{self.machines}", partial(self.oracle.note, replica.life)
        )

    async def _kill(self, replica: Replica, rng: random.Random) -> int:
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
        self.outcome.counts["killed: acknowledged"] += did
        await self._come_back(replica, rng.random() < LOSES_THE_DISK)
        return 1

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
        fresh = Replica("fresh", self.failing.hub, self.clock, self.folder)
        self.replicas.append(fresh)
        await fresh.machine.backup.pull()
        states = {replica.name: await replica.machine.everything() for replica in self.replicas}
        self.close()
        disks = {f"the disk {replica.life}": bytes_below(replica.disk) for replica in self.replicas}
        bytes_of = {"the dataset": self.failing.objects(), "the bucket": self.failing.bucket(), **disks}
        self.oracle.ends(states, bytes_of)

    async def _settle(self) -> None:
        """Let the app do what it does, until nothing is left to do."""
        for _ in range(ROUNDS):
            for replica in self.replicas:
                self.clock.now += 120.0
                await replica.machine.backup._turn()
                await self._told(replica)
            if not [True for replica in self.replicas if await self._waits(replica)]:
                return
        told = "; ".join([f"{replica.name}: {await self._waits(replica)}" for replica in self.replicas])
        self.outcome.violations.append(f"after {ROUNDS * 4} minutes with a Hub that is well something waits: {told}")

    async def _waits(self, replica: Replica) -> str:
        figures = await replica.machine.backup.figures()
        unpurged = await replica.machine.figure("SELECT count(*) FROM tombstones WHERE purged_at IS NULL")
        others = [each for each in self.replicas if each is not replica]
        alike = all([await replica.machine.everything() == await each.machine.everything() for each in others])
        if not figures.backlog and not unpurged and alike:
            return ""
        return (
            f"backlog {figures.backlog}, {unpurged} not purged, {'alike' if alike else 'not alike'}, {figures.problem}"
        )

    def close(self) -> None:
        for replica in self.replicas:
            if not replica.ended:
                replica.end()
