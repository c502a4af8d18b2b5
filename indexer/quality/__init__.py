"""Quality analysis: findings about likely mistakes in a catalogue, from its vectors and pictures.

`findings` and `store` are light to import; `analysis` imports SciPy.
"""
