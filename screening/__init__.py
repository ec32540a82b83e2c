"""screening room of caseness."""
