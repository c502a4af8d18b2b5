"""The rule for product ids, shared by folders, manifests and uploads."""

MAX_ID_LENGTH = 200


def invalid_id_reason(product_id: str) -> str | None:
    """Return the reason why a product id is invalid, or None.

    An id has 1 to 200 printable characters and no '/'. '.' and '..' are refused because clients resolve them
    as folders in a URL. Printable means `str.isprintable`: no control, format, unassigned or surrogate
    characters and no white space except the ordinary space.
    """
    if not product_id:
        return "an id cannot be empty"
    if len(product_id) > MAX_ID_LENGTH:
        return f"an id has at most {MAX_ID_LENGTH} characters, this one has {len(product_id)}"
    if product_id in (".", ".."):
        return f"an id cannot be {product_id!r}"
    if "/" in product_id:
        return "an id cannot contain '/'"
    if not product_id.isprintable():
        return "an id has printable characters only"
    return None
