"""Sources: one folder each. ``source.yml`` says which files are its own; a reader only where needed."""
