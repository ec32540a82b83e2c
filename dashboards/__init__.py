"""dashboards room of caseness."""
