"""synthetic_service room of caseness."""
