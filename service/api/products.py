"""Operations on products."""

from __future__ import annotations

from vitrine.service.api.operations import Call, Operations
from vitrine.service.api.schemas import ProductShape, ProductsShape, SeveralShape
from vitrine.service.catalogue.request_models import (
    IdsRequest,
    MoveRequest,
    ProductForm,
    ProductsQuery,
)
from vitrine.service.catalogue.serialisation import Json

operation = Operations()


@operation("GET /products", ProductsShape, query=ProductsQuery, tagged=True, problems=(422,))
def products(call: Call) -> Json:
    """Search products by name, category or id."""
    return call.catalogue.products(call.arguments)


@operation("GET /products/<id>", ProductShape, tagged=True, problems=(404, 410))
def product(call: Call, id: str) -> Json:
    """Return one product."""
    return call.catalogue.product(id)


@operation(
    "POST /products", ProductShape, form=ProductForm, status=201, writes=True,
    problems=(409, 422, 429, 507),
)  # fmt: skip
def add_product(call: Call) -> Json:
    """Add a product, which the next request finds."""
    return call.catalogue.add(call.image, call.arguments, by=call.caller)


@operation("DELETE /products/<id>", ProductShape, writes=True, problems=(404, 410, 422, 507))
def delete_product(call: Call, id: str) -> Json:
    """Delete a product; it can be restored."""
    return call.catalogue.delete(id, by=call.caller)


@operation("POST /products/<id>/restore", ProductShape, writes=True, problems=(404, 422, 507))
def restore_product(call: Call, id: str) -> Json:
    """Restore a deleted product."""
    return call.catalogue.restore(id, by=call.caller)


@operation(
    "POST /products/delete",
    SeveralShape,
    body=IdsRequest,
    writes=True,
    problems=(404, 410, 422, 507),
)
def delete_products(call: Call) -> Json:
    """Delete several products as one change."""
    return call.catalogue.delete(call.arguments.ids, by=call.caller)


@operation("POST /products/restore", SeveralShape, body=IdsRequest, writes=True, problems=(404, 422, 507))
def restore_products(call: Call) -> Json:
    """Restore several products as one change."""
    return call.catalogue.restore(call.arguments.ids, by=call.caller)


@operation("POST /products/move", SeveralShape, body=MoveRequest, writes=True, problems=(404, 410, 422, 507))
def move_products(call: Call) -> Json:
    """Put several products into a category as one change; builds keep them there."""
    return call.catalogue.move(call.arguments.ids, call.arguments.category, by=call.caller)
