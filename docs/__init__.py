"""Pages for people, and the script that makes some of them from rows."""
