"""The command line: one file per command group; they import lazily and hold no logic."""
