"""The same question as a command line and as Python, for people who go on from the page to the API."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode


def calls_for(address: str, options: Mapping[str, Any], product_id: str) -> dict[str, str]:
    """Return how to ask for these recommendations by curl and in Python. options: as a query carries them."""
    query = {name: str(value).lower() if value is True else value for name, value in options.items()}
    arguments = [f"{name}={_python(name, value)}" for name, value in options.items()]
    return {
        "curl": f"curl {shlex.quote(f'{address}?{urlencode(query)}')}",
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
