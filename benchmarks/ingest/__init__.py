"""How fast and how lean the door is: inputs written as a stream, and a timed job each beside the alternative."""
