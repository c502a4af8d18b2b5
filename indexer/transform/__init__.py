"""Vector transforms: centring, and an adaptation learnt from the catalogue's own categories.

Reads vectors and category codes only; embeds nothing. Fitting takes closed forms and seconds.
"""
