//! The order ring under `loom`: every interleaving and every permitted staleness of a few steps.
