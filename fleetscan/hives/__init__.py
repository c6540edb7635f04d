"""Registry contents from files: hives with their logs, .reg exports, collections, and trees built by hand."""
