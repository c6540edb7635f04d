"""Engines answer a plan for one host. Each module is a name users type after ``--engine``."""
