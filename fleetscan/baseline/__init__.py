"""Comparing meanings: identity, diff, prevalence, approvals."""
