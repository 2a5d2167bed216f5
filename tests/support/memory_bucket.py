"""A storage bucket in memory, which fails where a test says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from chat.dataset_repo import Denied, Visibility


@dataclass
class MemoryBucket:
    """`hooks[method]` is called once before, `after[method]` once after that method; what they raise the caller gets."""

    id: str = "ada/wal"
    objects: dict[str, bytes] | None = None
    seen_by: Visibility = "private"
    mine: bool = True
    hooks: dict[str, Callable[[], None]] = field(default_factory=dict)
    after: dict[str, Callable[[], None]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    written: list[int] = field(default_factory=list)  # bytes of each batch

    def _called(self, name: str) -> None:
        self.calls.append(name)
        self.hooks.pop(name, lambda: None)()

    def _there(self) -> dict[str, bytes]:
        if self.objects is None:
            raise Denied("There is no such bucket.")
        return self.objects

    def visibility(self) -> Visibility | None:
        self._called("visibility")
        return None if self.objects is None else self.seen_by

    def owned(self) -> bool:
        return self.mine

    def create(self) -> None:
        self._called("create")
        self.objects = {} if self.objects is None else self.objects

    def paths(self) -> list[str]:
        self._called("paths")
        return sorted(self._there())

    def read(self, paths: Sequence[str]) -> dict[str, bytes]:
        self._called("read")
        return {path: self._there()[path] for path in paths if path in self._there()}

    def apply(self, add: Mapping[str, bytes], delete: Sequence[str]) -> None:
        self._called("apply")
        self._there().update(add)
        for path in delete:
            self._there().pop(path, None)
        self.written.append(sum(map(len, add.values())))
        self.after.pop("apply", lambda: None)()

    def holds(self, text: str) -> bool:
        return any(text.encode() in content for content in (self.objects or {}).values())
