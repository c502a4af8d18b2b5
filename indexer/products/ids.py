"""What a product id may be, in one place for folders, manifests and uploads."""

MAX_ID_LENGTH = 200


def id_problem(text: str) -> str | None:
    """Say what keeps `text` from being an id, or None: 1 to 200 printable characters without '/'.

    Neither '.' nor '..', which every client takes for a folder.
    Printable is what `str.isprintable` says: no control, format, unassigned or surrogate characters and no
    space but the ordinary one.
    """
    if not text:
        return "an id cannot be empty"
    if len(text) > MAX_ID_LENGTH:
        return f"an id has at most {MAX_ID_LENGTH} characters, this one has {len(text)}"
    if text in (".", ".."):
        return f"an id cannot be {text!r}"
    if "/" in text:
        return "an id cannot contain '/'"
    if not text.isprintable():
        return "an id has printable characters only"
    return None
