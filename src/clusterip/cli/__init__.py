"""The command line: a table of commands, one module for each family."""
