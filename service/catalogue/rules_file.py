"""The rules of the shop as their file changes under a running service. Knows one file and no catalogue."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from vitrine.indexer.errors import RulesError
from vitrine.indexer.state.rules import Rules, read_rules

log = logging.getLogger(__name__)


class RulesFile:
    """The last good rules of a file, and what is wrong with the file as it is now. Not thread-safe."""

    def __init__(self, path: Path) -> None:
        """Read the file; none is no rules. Raises RulesError."""
        self._path = path
        self._seen = _signature(path)
        self.rules = read_rules(path)
        self.problem: str | None = None

    @property
    def is_changed(self) -> bool:
        """Whether the file is another than the one read last."""
        return _signature(self._path) != self._seen

    def follow(self, obey: Callable[[Rules], None]) -> None:
        """Read the file again and have its rules obeyed; where that fails, keep the last good ones.

        obey: raises RulesError for rules that do not fit the catalogue.
        """
        self._seen = _signature(self._path)
        try:
            rules = read_rules(self._path)
            obey(rules)
        except RulesError as error:
            if self.problem != str(error):
                log.error("the rules stay as they were: %s", error)
            self.problem = str(error)
            return
        self.rules, self.problem = rules, None
        log.info("%d rules of the shop are in force", len(rules.names))

    def retry(self) -> None:
        """Have a file that was not obeyed read once more."""
        if self.problem is not None:
            self._seen = None


def _signature(path: Path) -> tuple[int, int, int] | None:
    """Return what changes with the file: its time, size and number; zeros for none."""
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)
    return (status.st_mtime_ns, status.st_size, status.st_ino)
