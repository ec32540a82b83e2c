"""benchmarks room of caseness."""
