-- title: When the key was last written
-- description: The time on the key's own row in its parent. The table gives value rows another key's time in some cases.
-- answers: Seconds since 1970, UTC. It bounds the change from above: it happened then or earlier.
SELECT name, mtime FROM registry WHERE key = :parent AND type = 'subkey' AND lower(name) = lower(:leaf);
