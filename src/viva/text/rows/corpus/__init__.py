"""Where rows come from: one file a kind, each with a `Config` that is a `text.row.Corpus`."""
