"""The texts that scripts say, in the language of the page. A script names one by its key."""

from __future__ import annotations

from vitrine.service.gallery.languages import gettext as _


def script_messages() -> dict[str, str]:
    """Return every text of the scripts. `{name}` stands for what the script puts there."""
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
        "held": _("“{name}” is held for comparing."),
        "released": _("“{name}” is not held any more."),
        "release": _("Stop holding {name}"),
        "compare": _("Compare"),
        "holdOne": _("Choose one more to compare."),
        "sending": _("Sending the photo, {share}"),
        "looking": _("Looking at the photo… (the first one takes a little longer)"),
        "noCamera": _("The camera cannot be used: {reason}"),
        "frame": _("From the left {left}, from the top {top}, {width} wide, {height} high"),
        "uploadsOpen": _("{count} to add"),
        "uploadsDone": _("All added: {count}"),
        "probably": _("Probably:"),
        "alreadyThere": _("The same picture is in the catalogue already:"),
        "added": _("“{name}” was added and is found from now on."),
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
    """Return what people can do about a problem of the API, by its kind. Others say what the API says."""
    return {
        "problem:not-a-picture": _("This is not a picture that can be read."),
        "problem:too-large": _("This picture is too large: at most 32 MiB and 64 megapixels."),
        "problem:no-model": _("The network that looks at photos is not available on this service."),
        "problem:too-many-requests": _("Too much is being asked at once. Try again in a moment."),
        "problem:id-taken": _("Another product has this id. Choose another."),
        "problem:unknown-product": _("This product does not exist any more."),
        "problem:deleted-product": _("This product was deleted already."),
        "problem:nothing-to-undo": _("There is nothing left to undo."),
        "problem:key-required": _("A key is needed for changes."),
        "problem:write-forbidden": _("Changes are not allowed here."),
        "problem:storage-full": _("There is no space left on the service."),
    }
