"""Which rows are left out of the data: one file a kind, each with a `Config` that is a `text.sift.Filter`."""
