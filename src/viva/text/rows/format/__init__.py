"""How a row becomes what a model learns from: one file a kind, each with a `Config` that is a `text.fields.Format`."""
