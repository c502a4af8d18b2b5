"""Resolution of a search request's reference: ids, vectors and texts become a Reference on one view."""

from __future__ import annotations

from vitrine.indexer.errors import QueryError
from vitrine.service.catalogue.request_models import REFERENCES, SearchRequest
from vitrine.service.errors import DeletedProduct, UnknownProduct
from vitrine.service.queries.nearest import (
    Reference,
    product_reference,
    products_reference,
    vector_reference,
)
from vitrine.service.queries.text import best_product
from vitrine.service.queries.view import View
from vitrine.service.timing import stage


def find_row(view: View, product_id: str, field: str = "id") -> int:
    """Return the row of a product, live or deleted. Raises UnknownProduct."""
    row = view.state.segments.row_of(product_id)
    if row is None:
        raise UnknownProduct(product_id, field=field)
    return row


def find_live_row(view: View, product_id: str, field: str = "id") -> int:
    """Return the row of a live product. Raises UnknownProduct, DeletedProduct."""
    row = find_row(view, product_id, field)
    if not view.state.live[row]:
        raise DeletedProduct(product_id, view.state.product(row).deleted_at, field=field)
    return row


def resolve_reference(view: View, request: SearchRequest) -> tuple[Reference, int | None]:
    """Return the reference of a request, and its row if it is one product.

    Raises QueryError unless exactly one of product, products, vector and text is given; UnknownProduct,
    DeletedProduct.
    """
    given = [name for name in REFERENCES if getattr(request, name) is not None]
    if len(given) != 1:
        raise QueryError(f"give exactly one of {', '.join(REFERENCES)}", field=given[1] if given else None)
    if request.vector is not None:
        return vector_reference(view, request.vector), None
    if request.products is not None:
        like = [find_live_row(view, product_id, "products") for product_id in request.products.like]
        unlike = [find_live_row(view, product_id, "products") for product_id in request.products.unlike]
        return products_reference(view, like, unlike), None
    if request.product is not None:
        row = find_live_row(view, request.product, field="product")
    else:
        with stage("text"):
            row = best_product(view, request.text or "")
    return product_reference(view, row), row
