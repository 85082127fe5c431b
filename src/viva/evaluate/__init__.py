"""What a model can do, measured on what it has not seen."""
