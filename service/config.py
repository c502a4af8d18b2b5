"""Settings of the service: one table that defines flags, VITRINE_ variables and defaults.

Every field is a flag `--field-name` and a variable `VITRINE_FIELD_NAME`. API keys have no flag, because
command lines are visible to every user of a machine.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vitrine.indexer.config import DEFAULT_INDEX, TRUE_VALUES, parse_bytes
from vitrine.indexer.errors import InputError
from vitrine.indexer.milvus.address import StoreAddress

PREFIX = "VITRINE_"
FALSE = frozenset({"0", "false", "no", "off", ""})


def setting(
    default: Any,
    help: str,
    *,
    flag: bool = True,
    choices: tuple[str, ...] = (),
    least: int | None = None,
    most: int | None = None,
) -> Any:
    """Declare one field of ServiceConfig. least, most: smallest and largest allowed number."""
    metadata = {"help": help, "flag": flag, "choices": choices, "least": least, "most": most}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class ServiceConfig:
    """All settings. In variables, tuples are comma separated and sizes are written as 512MiB."""

    index: str = setting(DEFAULT_INDEX, "the index folder")
    store: str = setting(
        "faiss", "where vectors are searched: faiss (the snapshot's own index) or milvus://…"
    )
    host: str = setting(
        "127.0.0.1", "address to listen on; other than loopback only with keys or --read-only"
    )
    port: int = setting(8000, "port to listen on; 0 for a free one", least=0, most=65_535)
    workers: int = setting(1, "processes; all map the same vectors", least=1)
    threads: int = setting(4, "requests that each process works on at once", least=1)
    api_keys: tuple[str, ...] = setting((), "keys that writes need", flag=False)
    api_keys_file: str = setting("", "file with further keys, one per line")
    read_only: bool = setting(False, "refuse every write")
    allowed_hosts: tuple[str, ...] = setting(
        (), "host names that requests may use besides loopback's, while writes need no key"
    )
    cors_origins: tuple[str, ...] = setting((), "origins whose pages may read this API; none by default")
    proxies: int = setting(0, "number of trusted reverse proxies that set X-Forwarded-… headers", least=0)
    rate_limit: str = setting("", "requests per client, such as 600/minute; off by default")
    max_body: str = setting("32MiB", "largest request body")
    picture_roots: tuple[str, ...] = setting(
        (), "further folders that pictures may be read from, besides the source"
    )
    thumbnail_cache: str = setting("512MiB", "largest size of the thumbnail cache on disk")
    embed_queue: int = setting(
        32, "photo queries that may wait to be embedded; more are refused (429)", least=1
    )
    warm: bool = setting(False, "load the model and the whole index before the first answer")
    log_format: str = setting("json", "format of the log on stderr", choices=("json", "text"))
    log_level: str = setting(
        "info", "lowest level that is logged", choices=("debug", "info", "warning", "error")
    )
    access_log: bool = setting(True, "log one line per request")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None, **given: Any) -> ServiceConfig:
        """Return the settings from the VITRINE_ variables; `given` wins over them.

        Raises InputError that names the variable with a wrong value.
        """
        variables = os.environ if environment is None else environment
        for setting_field in dataclasses.fields(cls):
            text = variables.get(variable(setting_field.name))
            if setting_field.name not in given and text is not None:
                given[setting_field.name] = parsed_setting(setting_field.name, text)
        return cls(**given)

    def __post_init__(self) -> None:
        """Check the values. Raises InputError."""
        for setting_field in dataclasses.fields(self):
            value = getattr(self, setting_field.name)
            if (choices := setting_field.metadata["choices"]) and value not in choices:
                raise InputError(
                    f"{variable(setting_field.name)}={value!r} is not one of {', '.join(choices)}"
                )
            if (least := setting_field.metadata["least"]) is not None and value < least:
                raise InputError(f"{variable(setting_field.name)}={value} is below {least}")
            if (most := setting_field.metadata["most"]) is not None and value > most:
                raise InputError(f"{variable(setting_field.name)}={value} is above {most}")
        for name in ("max_body", "thumbnail_cache"):
            _size(name, getattr(self, name))
        if self.store != "faiss":
            StoreAddress.parse(self.store)

    @property
    def max_body_bytes(self) -> int:
        """Largest request body in bytes."""
        return _size("max_body", self.max_body)

    @property
    def thumbnail_cache_bytes(self) -> int:
        """Largest size of the thumbnail cache in bytes."""
        return _size("thumbnail_cache", self.thumbnail_cache)

    def keys(self) -> tuple[str, ...]:
        """Return all keys, including those of the file. Raises InputError when it cannot be read."""
        if not self.api_keys_file:
            return self.api_keys
        try:
            lines = Path(self.api_keys_file).read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"VITRINE_API_KEYS_FILE={self.api_keys_file}: cannot be read ({error})"
            ) from error
        return (*self.api_keys, *lines)

    def check_exposure(self) -> None:
        """Raise InputError when other machines could write without a key."""
        if is_loopback(self.host) or self.read_only or self.keys():
            return
        raise InputError(
            f"--host {self.host} is not loopback, and writes would be open to everyone who reaches it: "
            "set VITRINE_API_KEYS, or start with --read-only"
        )


def variable(name: str) -> str:
    """Return the environment variable of a field."""
    return PREFIX + name.upper()


def is_loopback(host: str) -> bool:
    """Return whether an address or host name can only mean this machine."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def parsed_setting(name: str, value: str | bool) -> Any:
    """Return the value of a setting from its text. Raises InputError naming the variable."""
    default = {known.name: known.default for known in dataclasses.fields(ServiceConfig)}[name]
    text = str(value).strip()
    if isinstance(default, bool):
        if text.lower() not in TRUE_VALUES | FALSE:
            raise InputError(f"{variable(name)}={text!r} is neither true nor false")
        return text.lower() in TRUE_VALUES
    if isinstance(default, tuple):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if isinstance(default, int):
        try:
            return int(text)
        except ValueError:
            raise InputError(f"{variable(name)}={text!r} is not a whole number") from None
    return text or default


def _size(name: str, text: str) -> int:
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise InputError(f"{variable(name)}: {error}") from None
