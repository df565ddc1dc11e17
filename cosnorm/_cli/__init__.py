"""The command line: two fronts, a full one (typer, rich) and a bare one, over the same functions."""
