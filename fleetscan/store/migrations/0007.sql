-- Version 7: what hosts share of a finding is kept once, its name stands on the host's sheet; what a sweep was judged with.
ALTER TABLE sheet_item ADD COLUMN fingerprint TEXT NOT NULL DEFAULT '';
ALTER TABLE judging ADD COLUMN judged_with TEXT NOT NULL DEFAULT '';
DROP VIEW findings;

CREATE VIEW findings AS
SELECT s.name AS sweep, {iso s.started} AS sweep_started, h.name AS host,
  COALESCE(NULLIF(i.fingerprint, ''), f.fingerprint) AS fingerprint, f.rule_id, f.rule_title,
  f.severity, f.certainty, f.state, f.verdict, f.entity_kind, f.entity, f.key_path, f.summary, f.techniques, f.details
FROM judged j JOIN sweep s ON s.id = j.sweep JOIN host h ON h.id = j.host
JOIN sheet_item i ON i.sheet = j.sheet JOIN finding f ON f.id = i.item
WHERE j.kind IN (1, 4);
