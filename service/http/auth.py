"""Who may write, and under which host name this service answers. Knows requests, not what they ask for.

Keys are kept as salted digests and compared in constant time. Without keys writes are for this machine only,
and then a browser is the danger: pages of other sites are refused by Sec-Fetch-Site and Origin, names that
were rebound to 127.0.0.1 by the Host header, and what came through a proxy by the headers that proxies add.
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

# A host application's own rule: returns the actor's name, or a Response that refuses.
BeforeWrite = Callable[[Request], "str | Response | None"]
WRONG_KEYS_RATE = "30/minute"
_FORWARDED = ("X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Forwarded", "Via")
_OWN_SITE = frozenset({"same-origin", "none"})


class Keys:
    """API keys, of which only salted digests are kept."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Take keys as they were given; their order names them key-1, key-2, …"""
        self._salt = secrets.token_bytes(16)
        self._digests = [self._digest(key) for key in keys]

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self._digests)

    def actor_of(self, key: str) -> str | None:
        """Return the name of a key, None for one that is not known; the time taken tells nothing."""
        given, found = self._digest(key), None
        for number, digest in enumerate(self._digests, 1):
            if hmac.compare_digest(given, digest):
                found = f"key-{number}"
        return found

    def _digest(self, key: str) -> bytes:
        return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), salt=self._salt).digest()


@dataclass(frozen=True)
class Guard:
    """Decides about requests. `before_write` is the host application's rule, in place of keys."""

    config: ServiceConfig
    keys: Keys
    wrong_keys: Rates
    before_write: BeforeWrite | None = None

    @classmethod
    def of(cls, config: ServiceConfig, before_write: BeforeWrite | None = None) -> Guard:
        """Make the guard of these settings."""
        return cls(config, Keys(config.keys()), Rates(WRONG_KEYS_RATE), before_write)

    @property
    def is_keyless(self) -> bool:
        """True where whoever is on this machine may write."""
        return not (self.config.read_only or self.keys or self.before_write)

    def check_host(self, request: Request) -> None:
        """Raise HostForbidden when a keyless service is called by a name that is not this machine's."""
        if not self.is_keyless:
            return
        if not _is_own(request.host, self.config.allowed_hosts):
            raise HostForbidden(
                f"{request.host!r} is not a name of this machine; allow it with --allowed-hosts, "
                "or set VITRINE_API_KEYS or --read-only"
            )

    def check_write(self, request: Request) -> str | Response:
        """Return who writes, or the host application's refusal. Raises WriteForbidden, KeyRequired."""
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
            raise KeyRequired("the key is not one of this service's")
        return actor


@lru_cache(maxsize=1024)
def _is_own(host: str, allowed: tuple[str, ...]) -> bool:
    """Return whether a Host header names this machine. Cached, since every request asks."""
    name = urlsplit(f"//{host}").hostname or ""
    return is_loopback(name) or name in allowed


def _refuse_cross_site(request: Request) -> None:
    """Raise WriteForbidden for a write that a page of another site makes a browser send."""
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    if site is not None and site not in _OWN_SITE:
        raise WriteForbidden("writes from pages of other sites are refused")
    if origin is not None and urlsplit(origin).netloc.lower() != request.host.lower():
        raise WriteForbidden(f"writes from pages of {origin[:200]!r} are refused")
