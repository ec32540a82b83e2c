"""expectations room of caseness."""
