"""The texts of the gallery in other languages than English: one .po a language, compiled beside it."""
