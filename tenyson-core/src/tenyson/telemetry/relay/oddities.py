"""Oddities: what a machine sent that it should not have. Each kind is counted, and told once, then each time it is ten times as many."""

from __future__ import annotations

MOST_KINDS = 20
MOST_EXAMPLE = 80


class Oddities:
    """Of one attempt, as seen by one process."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._examples: dict[str, str] = {}
        self._seen: set[tuple[str, str]] = set()
        self._told: dict[str, int] = {}

    def note(self, kind: str, example: str = "") -> None:
        """One more; what comes again with each look counts once."""
        if kind not in self.counts and len(self.counts) >= MOST_KINDS:
            kind, example = "something else", ""
        shown = ascii(example)[1:-1][:MOST_EXAMPLE]
        if shown:
            if (kind, shown) in self._seen:
                return
            if len(self._seen) < 1000 * MOST_KINDS:
                self._seen.add((kind, shown))
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self._examples.setdefault(kind, shown)

    def news(self) -> list[str]:
        """A line for each kind of which there is more to tell."""
        lines = []
        for kind, count in self.counts.items():
            if count >= 10 * self._told.get(kind, 0) and count != self._told.get(kind):
                self._told[kind] = count
                example = f" ({self._examples[kind]!r})" if self._examples[kind] else ""
                lines.append(f"{kind}: {count}{example}")
        return lines
