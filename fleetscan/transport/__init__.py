"""How bytes reach a host."""
