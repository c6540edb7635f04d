"""fleetscan: is this persistence on any of our Windows machines, is it new, and can we prove that we looked?"""

__version__ = "0.1.0"
