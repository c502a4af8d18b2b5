"""The journal of changes: a SQLite file, a read-only copy of it, and the changes folded by product."""
