"""From rules to SQL: scopes, the trie that merges them, the one recursive walk, and what its rows prove."""
