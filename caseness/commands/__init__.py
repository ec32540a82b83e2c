"""commands room of caseness."""
