"""Authorisation of writes, and the host names that a service without keys answers to.

API keys are kept as salted digests and compared in constant time. Without keys, only this machine may write.
The remaining attacks come through a browser: requests from pages of other sites are refused by their
Sec-Fetch-Site and Origin headers, rebound DNS names by the Host header, and proxied requests by the headers
that proxies add.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from flask import Request, Response

from vitrine.service.config import ServiceConfig, is_loopback
from vitrine.service.errors import HostForbidden, KeyRequired, WriteForbidden
from vitrine.service.http.rates import Rates

# A host application's own check: returns the actor's name, or a Response that refuses the write.
BeforeWrite = Callable[[Request], "str | Response | None"]
WRONG_KEYS_RATE = "30/minute"
_FORWARDED = ("X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Forwarded", "Via")
_OWN_SITE = frozenset({"same-origin", "none"})


class Keys:
    """API keys, kept as salted digests."""

    def __init__(self, keys: Sequence[str]) -> None:
        """keys: in the order of the settings, which names them key-1, key-2, …"""
        self._salt = secrets.token_bytes(16)
        self._digests = [self._digest(key) for key in keys]

    def __bool__(self) -> bool:
        """Return whether there is any key."""
        return bool(self._digests)

    def actor_of(self, key: str) -> str | None:
        """Return the name of a key, None for an unknown one, in constant time."""
        given, actor = self._digest(key), None
        for number, digest in enumerate(self._digests, 1):
            if hmac.compare_digest(given, digest):
                actor = f"key-{number}"
        return actor

    def _digest(self, key: str) -> bytes:
        return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), salt=self._salt).digest()


@dataclass(frozen=True)
class Guard:
    """Access checks of one service. `before_write`, the host application's own check, replaces the keys."""

    config: ServiceConfig
    keys: Keys
    wrong_keys: Rates
    before_write: BeforeWrite | None = None

    @classmethod
    def from_config(cls, config: ServiceConfig, before_write: BeforeWrite | None = None) -> Guard:
        """Return the guard of these settings."""
        return cls(config, Keys(config.keys()), Rates(WRONG_KEYS_RATE), before_write)

    @property
    def is_keyless(self) -> bool:
        """True if every process on this machine may write."""
        return not (self.config.read_only or self.keys or self.before_write)

    def check_host(self, request: Request) -> None:
        """Raise HostForbidden when a service without keys is called by a name of another machine."""
        if not self.is_keyless:
            return
        if not _is_own_host(request.host, self.config.allowed_hosts):
            raise HostForbidden(
                f"{request.host!r} is not a name of this machine: allow it with --allowed-hosts, "
                "or set VITRINE_API_KEYS or --read-only"
            )

    def check_write(self, request: Request) -> str | Response:
        """Return the actor's name, or the host application's refusal. Raises WriteForbidden, KeyRequired."""
        if self.config.read_only:
            raise WriteForbidden("this service is read-only")
        _refuse_cross_site(request)
        if self.before_write is not None:
            return self.before_write(request) or "host"
        if self.keys:
            return self._actor_of_key(request)
        if any(header in request.headers for header in _FORWARDED) and not self.config.proxies:
            raise KeyRequired("writes through a proxy need a key: set VITRINE_API_KEYS")
        if not is_loopback(request.remote_addr or ""):
            raise KeyRequired("writes from other machines need a key: set VITRINE_API_KEYS")
        self.check_host(request)
        return "local"

    def _actor_of_key(self, request: Request) -> str:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise KeyRequired("writes need the header Authorization: Bearer KEY")
        client = request.remote_addr or ""
        self.wrong_keys.test(client)
        actor = self.keys.actor_of(key.strip())
        if actor is None:
            self.wrong_keys.hit(client)
            raise KeyRequired("unknown API key")
        return actor


@lru_cache(maxsize=1024)
def _is_own_host(host: str, allowed: tuple[str, ...]) -> bool:
    """Return whether a Host header names this machine. Cached, because every request is checked."""
    name = urlsplit(f"//{host}").hostname or ""
    return is_loopback(name) or name in allowed


def _refuse_cross_site(request: Request) -> None:
    """Raise WriteForbidden for a write that a browser sends for a page of another site."""
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    if site is not None and site not in _OWN_SITE:
        raise WriteForbidden("writes from pages of other sites are refused")
    if origin is not None and urlsplit(origin).netloc.lower() != request.host.lower():
        raise WriteForbidden(f"writes from pages of {origin[:200]!r} are refused")
