"""Rule files in: Sigma YAML and Elastic TOML become one AST."""
