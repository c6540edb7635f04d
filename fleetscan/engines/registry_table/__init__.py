"""osquery's ``registry`` table over offline hives: patterns, reading, virtual table, SQL functions, facts, blind spots.

The rules are those of osquery's source; comments name them as "rule N" of the conformance corpus (its README).
"""
