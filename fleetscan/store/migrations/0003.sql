-- Version 3: records that many hosts share (kind + 3), and which sweeps were judged at all.
CREATE TABLE judging (sweep BIGINT NOT NULL, kind BIGINT NOT NULL, PRIMARY KEY (sweep, kind)){clustered};
INSERT INTO judging (sweep, kind) SELECT DISTINCT sweep, kind FROM judged;
DROP VIEW findings;
DROP VIEW changes;
DROP VIEW entities;

CREATE VIEW findings AS
SELECT s.name AS sweep, {iso s.started} AS sweep_started, h.name AS host, f.fingerprint, f.rule_id, f.rule_title,
  f.severity, f.certainty, f.state, f.verdict, f.entity_kind, f.entity, f.key_path, f.summary, f.techniques, f.details
FROM judged j JOIN sweep s ON s.id = j.sweep JOIN host h ON h.id = j.host
JOIN sheet_item i ON i.sheet = j.sheet JOIN finding f ON f.id = i.item
WHERE j.kind IN (1, 4);

CREATE VIEW changes AS
SELECT s.name AS sweep, {iso s.started} AS sweep_started, h.name AS host, c.base, c.kind, c.entity_kind, c.entity,
  c.attribute, c.old_value, c.new_value, c.summary, c.details
FROM judged j JOIN sweep s ON s.id = j.sweep JOIN host h ON h.id = j.host
JOIN sheet_item i ON i.sheet = j.sheet JOIN change c ON c.id = i.item
WHERE j.kind IN (2, 5);

CREATE VIEW entities AS
SELECT s.name AS sweep, h.name AS host, e.kind, e.identity, e.attributes
FROM judged j JOIN sweep s ON s.id = j.sweep JOIN host h ON h.id = j.host
JOIN sheet_item i ON i.sheet = j.sheet JOIN entity e ON e.id = i.item
WHERE j.kind IN (3, 6);
