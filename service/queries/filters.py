"""Conditions in the form that a store outside the process is told. A hint: the row mask is what counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Filters:
    """Conditions that all hold for the allowed rows: a product's category is in each of `categories`.

    where: conditions on attributes, as in SearchOptions. What else was left out only the mask knows.
    """

    categories: tuple[tuple[str, ...], ...] = ()
    where: Mapping[str, Any] = field(default_factory=dict)
