"""Operations on a published index folder: compaction, purge and replication."""
