"""Vector stores outside the process: addresses, connections, and collections filled from snapshots.

The only importer of pymilvus, which is optional: `pip install vitrine[milvus]`.
"""
