"""The shop rules file of a running service, read again when it changes. Independent of the catalogue."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from vitrine.indexer.errors import RulesError
from vitrine.indexer.state.rules import Rules, read_rules

log = logging.getLogger(__name__)


class RulesFile:
    """The last valid rules of a file, and the error of its present content. Not thread-safe.

    rules: the rules in force. problem: the error of a file that could not be applied, else None.
    """

    def __init__(self, path: Path) -> None:
        """Read the file; a missing file means no rules. Raises RulesError."""
        self._path = path
        self._signature = _signature(path)
        self.rules = read_rules(path)
        self.problem: str | None = None

    @property
    def is_changed(self) -> bool:
        """True if the file differs from the one read last."""
        return _signature(self._path) != self._signature

    def reload(self, apply: Callable[[Rules], None]) -> None:
        """Read the file again and apply its rules; after an error, keep the last valid ones.

        apply: raises RulesError for rules that do not fit the catalogue.
        """
        self._signature = _signature(self._path)
        try:
            rules = read_rules(self._path)
            apply(rules)
        except RulesError as error:
            if self.problem != str(error):
                log.error("the rules file has an error, the old rules stay in force: %s", error)
            self.problem = str(error)
            return
        self.rules, self.problem = rules, None
        log.info("%d shop rules are in force", len(rules.names))

    def retry(self) -> None:
        """Mark a file that could not be applied as changed, so that it is read again."""
        if self.problem is not None:
            self._signature = None


def _signature(path: Path) -> tuple[int, int, int] | None:
    """Return (modification time, size, inode), which change with the file; zeros for a missing file."""
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)
    return (status.st_mtime_ns, status.st_size, status.st_ino)
