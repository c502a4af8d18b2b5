"""The product table, conditions on its columns, and its text index."""
