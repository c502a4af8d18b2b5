"""The texts that scripts say, in the language of the page. A script names one by its key."""

from __future__ import annotations

from service.gallery.languages import gettext as _


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
        "undo": _("Undo"),
        "undone": _("“{name}” is back."),
        "close": _("Close"),
        "held": _("“{name}” is held for comparing."),
        "released": _("“{name}” is not held any more."),
        "release": _("Stop holding {name}"),
        "compare": _("Compare"),
        "holdOne": _("Choose one more to compare."),
    }
