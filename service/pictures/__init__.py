"""Pictures of the service: files and thumbnails, and photos embedded for a query."""
