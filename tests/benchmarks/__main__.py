"""Command line of the benchmarks: `python -m tests.benchmarks [SECTION]... [--quick]` writes RESULTS.md.

A section is a module of this package with `run(quick: bool) -> Section`. A section that is not run keeps its
text in RESULTS.md.
"""

from __future__ import annotations

import datetime as dt
import importlib
import os
import platform
import re
import sys
from pathlib import Path

SECTIONS = ("embedding", "builds", "search", "service", "gallery", "learning", "quality", "scale")
RESULTS = Path(__file__).with_name("RESULTS.md")


def main(arguments: list[str]) -> None:
    """Run the named sections, all by default."""
    quick = "--quick" in arguments
    names = [name for name in arguments if not name.startswith("-")] or list(SECTIONS)
    results = read_results()
    for name in names:
        print(f"-- {name}", file=sys.stderr)
        section = importlib.import_module(f"tests.benchmarks.{name}").run(quick)
        results[name] = f"{section.as_markdown()}\n*{conditions()}*\n"
        print(results[name])
        write_results(results)


def conditions() -> str:
    """Return the date and the machine of a measurement."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (match := re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text())):
        model = match[1]
    today = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}"
    return f"{today}, {os.cpu_count()} cores, {model}, Python {platform.python_version()}"


def read_results() -> dict[str, str]:
    """Return the sections of RESULTS.md by name."""
    if not RESULTS.exists():
        return {}
    parts = re.split(r"<!-- (\w+) -->\n", RESULTS.read_text(encoding="utf-8"))[1:]
    return dict(zip(parts[::2], (part.strip() + "\n" for part in parts[1::2]), strict=True))


def write_results(sections: dict[str, str]) -> None:
    """Write RESULTS.md, with the sections in the order of SECTIONS."""
    head = (
        "# Results\n\n"
        "Written by `make bench`. Absolute figures depend on the machine; compare the ratios.\n\n"
    )
    body = "\n".join(f"<!-- {name} -->\n{sections[name]}" for name in SECTIONS if name in sections)
    RESULTS.write_text(head + body, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
