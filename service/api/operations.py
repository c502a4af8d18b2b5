"""API operations as data, from which the Flask routes, the OpenAPI document and their tests are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from vitrine.service.catalogue.catalogue import Catalogue
from vitrine.service.catalogue.request_models import EmptyRequest
from vitrine.service.catalogue.writer import Caller


@dataclass(frozen=True, slots=True)
class Call:
    """Validated request of one operation.

    arguments: an instance of the operation's model, from the query string, the form or the JSON body.
    """

    catalogue: Catalogue
    arguments: Any
    caller: Caller
    image: bytes = b""


Handler = Callable[..., Any]


@dataclass(frozen=True)
class Operation:
    """One method of one path.

    query, body, form: the model of its arguments; a form also has a file `image`. answer: the model of its
    answer, None for a picture. media: further media types of the answer, on request. tagged: whether the
    answer depends only on the view and the request, so that it has an ETag. problems: error statuses besides
    the common ones.
    """

    method: str
    path: str
    handler: Handler
    answer: type[BaseModel] | None
    query: type[BaseModel] = EmptyRequest
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
    def arguments_model(self) -> type[BaseModel]:
        """The model of the arguments."""
        return self.body or self.form or self.query

    @property
    def summary(self) -> str:
        """The first line of the handler's docstring."""
        return (self.handler.__doc__ or "").strip().splitlines()[0]


@dataclass(frozen=True)
class Operations:
    """Operations of one module, in order; used as a decorator."""

    all: list[Operation] = field(default_factory=list)

    def __call__(
        self, route: str, answer: type[BaseModel] | None, **more: Any
    ) -> Callable[[Handler], Handler]:
        """Register a handler. route: method and path, such as "GET /products"."""
        method, path = route.split()

        def add(handler: Handler) -> Handler:
            self.all.append(Operation(method, path, handler, answer, **more))
            return handler

        return add
