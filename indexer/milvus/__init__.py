"""Milvus as an external vector store: addresses, connections, and collections loaded from snapshots.

Only this package imports pymilvus, which is optional: `pip install vitrine[milvus]`.
"""
