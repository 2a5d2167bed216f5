"""Tables of measurements, as Markdown."""

from __future__ import annotations

import json
import timeit


class Table:
    """Rows of one measurement; `str(table)` is Markdown."""

    def __init__(self, title: str, columns: tuple[str, ...]) -> None:
        self.title = title
        self.columns = columns
        self.rows: list[tuple[str, ...]] = []

    def add(self, *cells: object) -> None:
        """One row; numbers are shown with two decimals."""
        self.rows.append(tuple(f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in cells))

    def __str__(self) -> str:
        lines = [self.columns, tuple("---" for _ in self.columns), *self.rows]
        return "\n".join([f"### {self.title}", "", *("| " + " | ".join(line) + " |" for line in lines), ""])


def calibration() -> float:
    """Milliseconds for one JSON dump of a chunk of a stream: what this machine is worth in this run."""
    chunk = {"id": "x" * 32, "choices": [{"index": 0, "delta": {"content": " word"}, "finish_reason": None}]}
    return min(timeit.repeat(lambda: json.dumps(chunk), number=2000, repeat=5)) / 2000 * 1000
