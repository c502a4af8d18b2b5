"""Addresses of Milvus stores, parsed from URIs. Makes no connection."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from vitrine.indexer.errors import InputError

DEFAULT_PORT = 19530
TOKEN_VARIABLE = "VITRINE_MILVUS_TOKEN"  # noqa: S105 (the name of a variable, not a password)
_COLLECTION = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_FORM = "milvus://HOST:PORT/COLLECTION, or milvus:///PATH/FILE.db/COLLECTION for a file of milvus-lite"


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """The address of an alias in a Milvus store.

    collection: name of the alias; the collections of the snapshots begin with it. endpoint: a URL, or the
    path of a milvus-lite file, as pymilvus takes it. token: "user:password" or an API key, "" for none; never
    printed.
    """

    collection: str
    endpoint: str
    token: str = field(default="", repr=False)

    @classmethod
    def parse(cls, uri: str) -> StoreAddress:
        """Parse milvus://[USER:PASSWORD@]HOST[:PORT]/COLLECTION; milvus+tls:// uses TLS.

        Without a password in the URI, the token is $VITRINE_MILVUS_TOKEN. Raises InputError.
        """
        try:
            parts = urlsplit(uri)
            port = parts.port or DEFAULT_PORT
        except ValueError as error:
            raise InputError(f"--store {uri!r}: {error}; expected {_FORM}") from None
        if parts.scheme not in ("milvus", "milvus+tls") or parts.query or parts.fragment:
            raise InputError(f"--store {cls._without_password(uri)!r}: expected {_FORM}")
        path, _, collection = parts.path.rpartition("/")
        if not _COLLECTION.fullmatch(collection):
            raise InputError(
                f"--store {cls._without_password(uri)!r}: the name of a collection is up to 100 letters, "
                "digits and _"
            )
        if not parts.hostname:
            if not path.endswith(".db"):
                raise InputError(f"--store {uri!r}: expected {_FORM}")
            return cls(collection, unquote(path))
        if path:
            raise InputError(f"--store {cls._without_password(uri)!r}: expected {_FORM}")
        scheme = "https" if parts.scheme == "milvus+tls" else "http"
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        credentials = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        token = credentials if parts.password else os.environ.get(TOKEN_VARIABLE, "")
        return cls(collection, f"{scheme}://{host}:{port}", token)

    @staticmethod
    def _without_password(uri: str) -> str:
        """Return the URI with its credentials hidden."""
        return re.sub(r"//[^/@]*@", "//…@", uri)

    @property
    def is_file(self) -> bool:
        """True for a milvus-lite file, which only one process at a time can open."""
        return "://" not in self.endpoint

    def __str__(self) -> str:
        """Return the address without the token."""
        return f"{self.endpoint}/{self.collection}"

    def collection_name(self, snapshot: str) -> str:
        """Return the name of the collection that holds a snapshot."""
        return f"{self.collection}_{snapshot.replace('-', '_')}"

    def snapshot_name(self, collection: str) -> str | None:
        """Return the snapshot that a collection holds, None for a collection of something else."""
        suffix = collection.removeprefix(f"{self.collection}_")
        match = re.fullmatch(r"([0-9]{8}T[0-9]{9}Z)_([0-9a-f]{4})", suffix)
        return f"{match[1]}-{match[2]}" if match and suffix != collection else None
