"""What a search refers to: from ids, vectors and texts to a Reference on one view. Pure; knows no files."""

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


def known_row(view: View, product_id: str, field: str = "id") -> int:
    """Return the row of a product, live or deleted. Raises UnknownProduct."""
    row = view.row_of(product_id)
    if row is None:
        raise UnknownProduct(product_id, field=field)
    return row


def live_row(view: View, product_id: str, field: str = "id") -> int:
    """Return the row of a live product. Raises UnknownProduct, DeletedProduct."""
    row = known_row(view, product_id, field)
    if not view.live[row]:
        raise DeletedProduct(product_id, view.product(row).deleted_at, field=field)
    return row


def reference_of(view: View, request: SearchRequest) -> tuple[Reference, int | None]:
    """Return what a request refers to, and its row where that is one product.

    Raises QueryError unless exactly one of product, products, vector and text is given, and as they do.
    """
    given = [name for name in REFERENCES if getattr(request, name) is not None]
    if len(given) != 1:
        raise QueryError(f"give exactly one of {', '.join(REFERENCES)}", field=given[1] if given else None)
    if request.vector is not None:
        return vector_reference(view, request.vector), None
    if request.products is not None:
        like = [live_row(view, each, field="products") for each in request.products.like]
        unlike = [live_row(view, each, field="products") for each in request.products.unlike]
        return products_reference(view, like, unlike), None
    if request.product is not None:
        row = live_row(view, request.product, field="product")
    else:
        with stage("text"):
            row = best_product(view, request.text or "")
    return product_reference(view, row), row
