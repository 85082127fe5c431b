"""What every other part stands on: errors, configuration, registries, files, seeds, the machine."""
