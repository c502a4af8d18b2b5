"""Where a Milvus store is, read from its URI. Connects to nothing."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from vitrine.indexer.errors import InputError

DEFAULT_PORT = 19530
TOKEN_VARIABLE = "VITRINE_MILVUS_TOKEN"  # noqa: S105 (the name of a variable)
_COLLECTION = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_FORM = "milvus://HOST:PORT/COLLECTION, or milvus:///PATH/FILE.db/COLLECTION for a file of milvus-lite"


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """One alias in one Milvus.

    collection: the alias; each snapshot has a collection whose name begins with it. endpoint: what pymilvus
    connects to, a URL or the path of a milvus-lite file. token: "user:password" or a key, "" for none; never
    shown.
    """

    collection: str
    endpoint: str
    token: str = field(default="", repr=False)

    @classmethod
    def parse(cls, uri: str) -> StoreAddress:
        """Read milvus://[USER:PASSWORD@]HOST[:PORT]/COLLECTION; milvus+tls:// encrypts.

        Without a password in the URI the token is that of $VITRINE_MILVUS_TOKEN. Raises InputError.
        """
        try:
            parts = urlsplit(uri)
            port = parts.port or DEFAULT_PORT
        except ValueError as error:
            raise InputError(f"--store {uri!r}: {error}; expected {_FORM}") from None
        if parts.scheme not in ("milvus", "milvus+tls") or parts.query or parts.fragment:
            raise InputError(f"--store {cls._shown(uri)!r}: expected {_FORM}")
        path, _, collection = parts.path.rpartition("/")
        if not _COLLECTION.fullmatch(collection):
            raise InputError(
                f"--store {cls._shown(uri)!r}: the collection is named by up to 100 letters, digits and _"
            )
        if not parts.hostname:
            if not path.endswith(".db"):
                raise InputError(f"--store {uri!r}: expected {_FORM}")
            return cls(collection, unquote(path))
        if path:
            raise InputError(f"--store {cls._shown(uri)!r}: expected {_FORM}")
        scheme = "https" if parts.scheme == "milvus+tls" else "http"
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        given = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        token = given if parts.password else os.environ.get(TOKEN_VARIABLE, "")
        return cls(collection, f"{scheme}://{host}:{port}", token)

    @staticmethod
    def _shown(uri: str) -> str:
        """Return the URI without a password."""
        return re.sub(r"//[^/@]*@", "//…@", uri)

    @property
    def is_file(self) -> bool:
        """Whether milvus-lite keeps it in a file, which one process at a time can open."""
        return "://" not in self.endpoint

    def __str__(self) -> str:
        """The address without the token."""
        return f"{self.endpoint}/{self.collection}"

    def collection_of(self, snapshot: str) -> str:
        """Return the name of the collection that holds a snapshot."""
        return f"{self.collection}_{snapshot.replace('-', '_')}"

    def snapshot_of(self, collection: str) -> str | None:
        """Return the snapshot that a collection holds, None for a collection of something else."""
        stamp = collection.removeprefix(f"{self.collection}_")
        found = re.fullmatch(r"([0-9]{8}T[0-9]{9}Z)_([0-9a-f]{4})", stamp)
        return f"{found[1]}-{found[2]}" if found and stamp != collection else None
