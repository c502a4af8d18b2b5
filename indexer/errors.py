"""Every error Vitrine raises on purpose, as one tree. Knows nothing of HTTP or of command lines.

VitrineError
├── InputError              the caller's input is wrong                  exit 2
│   ├── SourceError         a folder or manifest cannot be indexed       (file, row)
│   ├── RulesError          rules.toml says something that cannot be obeyed (rule)
│   ├── PictureError        one picture cannot be used                   (reason)
│   └── QueryError          a query is malformed or impossible           (field)
├── SnapshotError           the index folder cannot be used              exit 3
│   ├── SnapshotMissing     nothing has been published there
│   ├── SnapshotCorrupt     files do not agree with their manifest
│   ├── FormatUnsupported   written by a version this one cannot read
│   ├── PublishRefused      a finished candidate failed the publish gate
│   ├── RecipeImpossible    no index holds the recall within the memory
│   ├── StorageFull         the disk is full or the quota is reached
│   └── StoreUnavailable    a vector store outside the process is gone
└── ModelError              no network to embed with                     exit 4
    ├── ModelUnavailable    every source of the weights was tried
    └── ModelMismatch       vectors of one model, queries of another
"""


class VitrineError(Exception):
    """Base of all errors. `str(error)` is one line: what is wrong, where, and what to do."""

    exit_code = 1


class InputError(VitrineError):
    """The input is wrong and the same call will fail again."""

    exit_code = 2


class SourceError(InputError):
    """A source cannot be read or breaks a rule; names the file and, where known, the row."""


class RulesError(InputError):
    """The rules of the shop cannot be read or obeyed; names the rule."""


class PictureError(InputError):
    """One picture cannot be used. `reason` is a short, stable sentence for failures.parquet.

    `kind` is one of: unreadable, not-a-picture, too-large, missing, outside-source.
    """

    def __init__(self, reason: str, *, kind: str = "unreadable") -> None:
        super().__init__(reason)
        self.reason = reason
        self.kind = kind


class QueryError(InputError):
    """A query cannot be answered as asked.

    field: the parameter to blame, or None.
    malformed: True when it cannot be parsed (HTTP 400), False when it is well-formed but
    impossible (HTTP 422).
    """

    def __init__(self, message: str, *, field: str | None = None, malformed: bool = False) -> None:
        super().__init__(message)
        self.field = field
        self.malformed = malformed


class SnapshotError(VitrineError):
    """The index folder or a snapshot in it cannot be used."""

    exit_code = 3


class SnapshotMissing(SnapshotError):
    """No snapshot has been published in this folder, or the named one is not there."""


class SnapshotCorrupt(SnapshotError):
    """Files of a snapshot are missing, altered, or disagree with each other."""


class FormatUnsupported(SnapshotError):
    """The snapshot or journal has a format version this program does not read."""


class PublishRefused(SnapshotError):
    """The candidate snapshot failed the publish gate and was left for inspection."""


class RecipeImpossible(SnapshotError):
    """No recipe holds the wanted recall within the given memory; says what would be needed."""


class StorageFull(SnapshotError):
    """There is no space left to write; nothing that was acknowledged is lost."""


class StoreUnavailable(SnapshotError):
    """A vector store outside this process does not answer."""


class ModelError(VitrineError):
    """The network that embeds pictures cannot be used."""

    exit_code = 4


class ModelUnavailable(ModelError):
    """Weights could not be had. The message names every source tried and why each failed."""


class ModelMismatch(ModelError):
    """The model at hand is not the one whose vectors the snapshot holds."""
