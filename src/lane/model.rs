//! The lane under `loom`: every interleaving and every permitted staleness of a few operations.
