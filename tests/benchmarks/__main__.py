"""`python -m tests.benchmarks [SECTION]... [--quick]`: run sections and write RESULTS.md beside this file.

A section is a module here with `run(quick: bool) -> Section`. One that is not run keeps what stands in
RESULTS.md.
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
    """Run the sections named, all by default."""
    quick = "--quick" in arguments
    wanted = [name for name in arguments if not name.startswith("-")] or list(SECTIONS)
    kept = read_results()
    for name in wanted:
        print(f"-- {name}", file=sys.stderr)
        section = importlib.import_module(f"tests.benchmarks.{name}").run(quick)
        kept[name] = f"{section.as_markdown()}\n*{conditions()}*\n"
        print(kept[name])
        write_results(kept)


def conditions() -> str:
    """Return the day and the machine, as far as figures depend on them."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (found := re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text())):
        model = found[1]
    today = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}"
    return f"{today}, {os.cpu_count()} cores, {model}, Python {platform.python_version()}"


def read_results() -> dict[str, str]:
    """Return the sections of RESULTS.md by name."""
    if not RESULTS.exists():
        return {}
    parts = re.split(r"<!-- (\w+) -->\n", RESULTS.read_text(encoding="utf-8"))[1:]
    return dict(zip(parts[::2], (part.strip() + "\n" for part in parts[1::2]), strict=True))


def write_results(sections: dict[str, str]) -> None:
    """Write RESULTS.md, sections in their fixed order."""
    head = "# Results\n\nWritten by `make bench`. Machines differ: read ratios, not absolutes.\n\n"
    body = "\n".join(f"<!-- {name} -->\n{sections[name]}" for name in SECTIONS if name in sections)
    RESULTS.write_text(head + body, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
