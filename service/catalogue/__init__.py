"""The catalogue as an object: what it answers, and how it is changed."""
