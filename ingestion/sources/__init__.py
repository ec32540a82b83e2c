"""sources room of caseness."""
