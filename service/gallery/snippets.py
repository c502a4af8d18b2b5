"""Code snippets: the request of a page as a command line and in Python."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode


def snippets_for(url: str, options: Mapping[str, Any], product_id: str) -> dict[str, str]:
    """Return the request for recommendations in curl and Python. options: values of the query string."""
    query = {name: str(value).lower() if value is True else value for name, value in options.items()}
    arguments = [f"{name}={_python(name, value)}" for name, value in options.items()]
    return {
        "curl": f"curl {shlex.quote(f'{url}?{urlencode(query)}')}",
        "python": (
            "from vitrine import Catalogue\n\n"
            'with Catalogue.open("data/index") as catalogue:\n'
            f"    answer = catalogue.similar({', '.join([repr(product_id), *arguments])})\n"
            '    for hit in answer["hits"]:\n'
            '        print(hit["score"], hit["id"], hit["name"])'
        ),
    }


def _python(name: str, value: Any) -> str:
    return repr(json.loads(value) if name == "where" else value)
