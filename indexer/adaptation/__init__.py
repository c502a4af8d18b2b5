"""Learning from a catalogue's own categories how its pictures should be compared. Closed form, seconds.

Reads vectors and category codes only; embeds nothing and writes no file. The result is an
`indexer.transform.Transform`.
"""

from indexer.adaptation.choice import choose_transform, still_fits
from indexer.adaptation.sample import Catalogue

__all__ = ["Catalogue", "choose_transform", "still_fits"]
