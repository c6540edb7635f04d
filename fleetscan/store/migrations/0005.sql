-- Version 5: baselines with several golden hosts (names as JSON) and with each host's own past first.
ALTER TABLE baseline ADD COLUMN others TEXT NOT NULL DEFAULT '[]';
ALTER TABLE baseline ADD COLUMN own_past BIGINT NOT NULL DEFAULT 0;
