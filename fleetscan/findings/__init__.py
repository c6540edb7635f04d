"""One matter, one line: rules, known good and changes of a sweep brought together per entity and host."""
