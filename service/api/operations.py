"""What the API offers, as data: from it come the Flask routes, the OpenAPI document and the tests of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from vitrine.service.catalogue.catalogue import Catalogue
from vitrine.service.catalogue.request_models import Nothing
from vitrine.service.catalogue.writer import Caller


@dataclass(frozen=True, slots=True)
class Call:
    """One request as its handler sees it: what was asked, checked, and by whom.

    asked: the operation's model, from the query string, the form or the JSON body.
    """

    catalogue: Catalogue
    asked: Any
    caller: Caller
    image: bytes = b""


Handler = Callable[..., Any]


@dataclass(frozen=True)
class Operation:
    """One method of one path.

    media: what else than JSON the answer comes in, on request.
    query, body, form: what it takes, as a model; a form has a file `image` too. answer: None for a picture.
    tagged: the answer depends on nothing but the view and the request, so that its ETag can be. problems:
    statuses besides those of all.
    """

    method: str
    path: str
    handler: Handler
    answer: type[BaseModel] | None
    query: type[BaseModel] = Nothing
    body: type[BaseModel] | None = None
    form: type[BaseModel] | None = None
    status: int = 200
    writes: bool = False
    tagged: bool = False
    problems: tuple[int, ...] = ()
    media: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The handler's name: the Flask endpoint and the operationId."""
        return self.handler.__name__

    @property
    def takes(self) -> type[BaseModel]:
        """The model of what is asked."""
        return self.body or self.form or self.query

    @property
    def summary(self) -> str:
        """The first line of the handler's docstring."""
        return (self.handler.__doc__ or "").strip().splitlines()[0]


@dataclass(frozen=True)
class Operations:
    """Collects the operations of one module, in order."""

    all: list[Operation] = field(default_factory=list)

    def __call__(
        self, route: str, answer: type[BaseModel] | None, **more: Any
    ) -> Callable[[Handler], Handler]:
        """Declare a handler. route: "GET /products"."""
        method, path = route.split()

        def add(handler: Handler) -> Handler:
            self.all.append(Operation(method, path, handler, answer, **more))
            return handler

        return add
