"""Picture decoding and the preprocessing that a network expects."""
