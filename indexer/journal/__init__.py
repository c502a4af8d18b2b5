"""The journal of live changes: a SQLite file, a read-only view of it, and its changes folded by product."""
