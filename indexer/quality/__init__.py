"""A catalogue's own mistakes, found with the vectors it has anyway: what may be wrong, and what shows it.

`findings` and `kept` are light to import; `analysis`, which looks for them, brings SciPy.
"""
