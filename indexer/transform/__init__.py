"""Learning from a catalogue's own categories how its pictures should be compared. Closed form, seconds.

Reads vectors and category codes only; embeds nothing and writes no file. The result is an
`vitrine.indexer.transform.transform.Transform`.
"""

from vitrine.indexer.transform.choice import choose_transform, still_fits
from vitrine.indexer.transform.sample import Catalogue

__all__ = ["Catalogue", "choose_transform", "still_fits"]
