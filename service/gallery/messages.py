"""Texts of the scripts in the language of the page, by key."""

from __future__ import annotations

from vitrine.service.gallery.languages import gettext as _


def script_messages() -> dict[str, str]:
    """Return all texts of the scripts. The scripts fill in `{name}`."""
    return {
        "loading": _("Loading…"),
        "failed": _("That did not work: {reason}"),
        "offline": _("The service does not answer. Check that it is running, and try again."),
        "moreLoaded": _("{count} more products are shown."),
        "copied": _("Copied"),
        "copyFailed": _("The browser did not allow copying."),
        "confirmDelete": _("Delete “{name}”?"),
        "deleted": _("“{name}” was deleted."),
        "moved": _("“{name}” is in {category} now."),
        "dismissed": _("The finding about “{name}” was dismissed."),
        "undo": _("Undo"),
        "undone": _("“{name}” is back."),
        "close": _("Close"),
        "held": _("“{name}” was added to the comparison."),
        "released": _("“{name}” was removed from the comparison."),
        "release": _("Remove {name} from comparison"),
        "compare": _("Compare"),
        "holdOne": _("Select one more product to compare."),
        "sending": _("Sending the photo, {share}"),
        "looking": _("Analysing the photo… (the first one takes a little longer)"),
        "noCamera": _("The camera cannot be used: {reason}"),
        "frame": _("From the left {left}, from the top {top}, {width} wide, {height} high"),
        "uploadsOpen": _("{count} to add"),
        "uploadsDone": _("All added: {count}"),
        "probably": _("Probably:"),
        "alreadyThere": _("The same picture is in the catalogue already:"),
        "added": _("“{name}” was added and can be found now."),
        "restoreChosen": _("Restore {count} chosen"),
        "restoreNone": _("Restore the chosen ones"),
        "pairsOf": _("{a} and {b}: {value}"),
        "points": _("{count} products"),
        "sampled": _("{count} of {total} products, the same share of each category"),
        "axis": _("Component {number} ({share} of the variance)"),
        "noCategory": _("no category"),
        "noWebgl": _(
            "This browser cannot draw the map (no WebGL). The categories lead to the same products."
        ),
        "nothingHere": _("No product lies here."),
        "pointSaid": _("{name}, {category}"),
        **_problems(),
    }


def _problems() -> dict[str, str]:
    """Return texts for problems of the API, by problem type. Other types show the API's detail."""
    return {
        "problem:not-a-picture": _("This is not a readable picture."),
        "problem:too-large": _("This picture is too large: at most 32 MiB and 64 megapixels."),
        "problem:no-model": _("The model for photos is not available on this service."),
        "problem:too-many-requests": _("Too many requests at once. Try again in a moment."),
        "problem:id-taken": _("This id is already taken. Choose another one."),
        "problem:unknown-product": _("This product does not exist any more."),
        "problem:deleted-product": _("This product was deleted already."),
        "problem:nothing-to-undo": _("Nothing to undo."),
        "problem:key-required": _("Changes need a key."),
        "problem:write-forbidden": _("Changes are not allowed here."),
        "problem:storage-full": _("The service has no disk space left."),
    }
