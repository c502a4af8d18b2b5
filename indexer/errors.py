"""Exceptions that Vitrine raises on purpose. The module depends on neither HTTP nor a command line.

VitrineError
├── InputError              the input is wrong                           exit 2
│   ├── SourceError         a folder or manifest cannot be indexed       (file, row)
│   ├── RulesError          rules.toml holds a rule that cannot be used  (rule)
│   ├── PictureError        a picture cannot be used                     (reason, code)
│   └── QueryError          a query is malformed or impossible           (field)
├── SnapshotError           the index folder cannot be used              exit 3
│   ├── SnapshotMissing     no snapshot has been published there
│   ├── SnapshotCorrupt     files do not agree with their manifest
│   ├── JournalMismatch     the journal is not the one of the snapshots
│   ├── FormatUnsupported   written in a format version that is not supported
│   ├── PublishRefused      a finished candidate failed the publish gate
│   ├── RecipeImpossible    no index reaches the target recall within the memory limit
│   ├── StorageFull         the disk is full or the quota is reached
│   └── StoreUnavailable    an external vector store does not answer
└── ModelError              no network to embed with                     exit 4
    ├── ModelUnavailable    the weights were found in none of their sources
    └── ModelMismatch       vectors of one model, queries of another
"""


class VitrineError(Exception):
    """Base class of all errors. `str(error)` is one line: the problem, its place, and what to do."""

    exit_code = 1


class InputError(VitrineError):
    """Wrong input: the same call will fail again."""

    exit_code = 2


class SourceError(InputError):
    """A source that cannot be read or breaks a rule. Names the file and, if known, the row."""


class RulesError(InputError):
    """Shop rules that cannot be read or applied. Names the rule."""


class PictureError(InputError):
    """A picture that cannot be used.

    reason: a short, stable sentence, as stored in failures.parquet.
    code: one of unreadable, not-a-picture, too-large, missing, outside-source.
    """

    def __init__(self, reason: str, *, code: str = "unreadable") -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class QueryError(InputError):
    """A query that cannot be answered.

    field: the parameter at fault, or None.
    malformed: True if the query cannot be parsed (HTTP 400), False if it is well-formed but impossible
    (HTTP 422).
    """

    def __init__(self, message: str, *, field: str | None = None, malformed: bool = False) -> None:
        super().__init__(message)
        self.field = field
        self.malformed = malformed


class SnapshotError(VitrineError):
    """An index folder, or a snapshot in it, that cannot be used."""

    exit_code = 3


class SnapshotMissing(SnapshotError):
    """No snapshot has been published in the folder, or the named one is not there."""


class SnapshotCorrupt(SnapshotError):
    """Files of a snapshot are missing, altered, or disagree with each other."""


class JournalMismatch(SnapshotError):
    """The journal ends before changes that a snapshot contains: it is another one, or an older copy."""


class FormatUnsupported(SnapshotError):
    """The snapshot or journal has a format version that this program does not support."""


class PublishRefused(SnapshotError):
    """The candidate snapshot failed the publish gate and was kept for inspection."""


class RecipeImpossible(SnapshotError):
    """No recipe reaches the target recall within the memory limit. The message says what would."""


class StorageFull(SnapshotError):
    """No space is left to write. No acknowledged change is lost."""


class StoreUnavailable(SnapshotError):
    """An external vector store does not answer."""


class ModelError(VitrineError):
    """The network that embeds pictures cannot be used."""

    exit_code = 4


class ModelUnavailable(ModelError):
    """The weights could not be loaded. The message names every source tried and why it failed."""


class ModelMismatch(ModelError):
    """The loaded model is not the one that made the vectors of the snapshot."""
