"""efficacy room of caseness."""
