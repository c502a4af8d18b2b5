"""Sources: folders and manifests, local or remote, read into the products to index."""
