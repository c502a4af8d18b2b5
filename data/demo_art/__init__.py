"""Illustrations for the demo catalogue: one module a family of products, Pillow and NumPy only."""
