"""Illustrations of the demo catalogue, drawn with Pillow and NumPy: one module for each product family."""
