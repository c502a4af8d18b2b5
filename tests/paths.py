"""Paths of the repository that tests read from."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "data" / "demo"
CLOTHING = ROOT.parent / "shared" / "photos" / "clothing"
