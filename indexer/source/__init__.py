"""Sources: folders and manifests, local or remote, as tables of products to index."""
