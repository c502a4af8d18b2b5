"""Decoding of pictures, preprocessing for a network, and thumbnails."""
