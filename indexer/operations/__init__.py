"""Operations on an index folder besides building: compact, purge, and replication."""
