"""Normalisation over the width E, one file a variant."""
