"""Results of benchmarks and their Markdown form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Row:
    """One result. label: name of the quantity. aim: target in words. held: whether it was reached, if any."""

    label: str
    value: str
    aim: str = ""
    held: bool | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """A section of results. about: conditions. notes: explanations, such as of a missed aim."""

    title: str
    about: str
    rows: Sequence[Row]
    notes: Sequence[str] = field(default_factory=tuple)

    def as_markdown(self) -> str:
        """Return the section as a heading, a paragraph, a table and its notes."""
        lines = [
            f"## {self.title}",
            "",
            self.about,
            "",
            "| what | measured | aim | held |",
            "|---|---|---|---|",
        ]
        held = {True: "yes", False: "**no**", None: ""}
        lines += [f"| {row.label} | {row.value} | {row.aim} | {held[row.held]} |" for row in self.rows]
        if self.notes:
            lines += ["", *(f"- {note}" for note in self.notes)]
        return "\n".join(lines) + "\n"
