"""One module per command: each orchestrates the rooms and can be used without the command line."""
