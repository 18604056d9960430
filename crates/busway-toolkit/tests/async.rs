//! The toolkit's futures under tokio, over buses and groups: nothing is lost, by whom it may be dropped.
