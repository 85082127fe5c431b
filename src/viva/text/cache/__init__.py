"""What a model learns from: examples as ids and masks, kept in files that are read in place, packed into rows."""
