-- Version 2: what was judged (findings, changes, entities), and the stable views for SQL tools.
-- {serial}: a number that is never used again; {blob}: bytes; {clustered}: rows live in their primary key.
-- {iso NAME}: microseconds since 1970 as ISO 8601 text; {hex NAME}: bytes as lower-case hex digits.
CREATE TABLE finding (id {serial}, sha256 {blob} NOT NULL UNIQUE, fingerprint TEXT NOT NULL, rule_id TEXT NOT NULL, rule_title TEXT NOT NULL, severity TEXT NOT NULL, certainty TEXT NOT NULL, state TEXT NOT NULL, verdict TEXT NOT NULL, entity_kind TEXT NOT NULL, entity TEXT NOT NULL, key_path TEXT NOT NULL, summary TEXT NOT NULL, techniques TEXT NOT NULL, details TEXT NOT NULL, is_open BIGINT NOT NULL, record {blob} NOT NULL);
CREATE TABLE change (id {serial}, sha256 {blob} NOT NULL UNIQUE, kind TEXT NOT NULL, entity_kind TEXT NOT NULL, entity TEXT NOT NULL, base TEXT NOT NULL, attribute TEXT NOT NULL, old_value TEXT NOT NULL, new_value TEXT NOT NULL, summary TEXT NOT NULL, details TEXT NOT NULL, record {blob} NOT NULL);
CREATE TABLE entity (id {serial}, sha256 {blob} NOT NULL UNIQUE, kind TEXT NOT NULL, identity TEXT NOT NULL, attributes TEXT NOT NULL, record {blob} NOT NULL);
CREATE TABLE sheet (id {serial}, sha256 {blob} NOT NULL UNIQUE, kind BIGINT NOT NULL);
CREATE TABLE sheet_item (sheet BIGINT NOT NULL, position BIGINT NOT NULL, item BIGINT NOT NULL, PRIMARY KEY (sheet, position)){clustered};
CREATE TABLE judged (sweep BIGINT NOT NULL, kind BIGINT NOT NULL, host BIGINT NOT NULL, sheet BIGINT NOT NULL, PRIMARY KEY (sweep, kind, host)){clustered};

CREATE VIEW sweeps AS
SELECT s.name AS sweep, {iso s.started} AS started, {iso s.finished} AS finished, s.outcome, s.note,
  (SELECT COUNT(*) FROM result r WHERE r.sweep = s.id) AS hosts,
  (SELECT COUNT(*) FROM result r WHERE r.sweep = s.id AND r.tree IS NOT NULL) AS answered,
  p.digest AS plan_digest, p.rules_digest,
  (SELECT {hex e.sha256} FROM seal e WHERE e.sweep = s.id ORDER BY e.number DESC LIMIT 1) AS seal,
  {iso s.pruned} AS pruned
FROM sweep s JOIN plan p ON p.id = s.plan;

CREATE VIEW hosts AS
SELECT s.name AS sweep, h.name AS host, p.engine, p.groups,
  CASE WHEN r.tree IS NULL THEN 'not asked' WHEN t.complete = 1 THEN 'complete' WHEN t.covered = 1 THEN 'partial' ELSE 'unreachable' END AS coverage,
  {iso s.started + r.started} AS started, {iso s.started + r.started + r.duration} AS finished,
  f.hostname, f.os_name, f.os_version, f.os_build, f.arch, f.osquery_version
FROM result r JOIN sweep s ON s.id = r.sweep JOIN host h ON h.id = r.host JOIN placement p ON p.id = r.placement
LEFT JOIN tree t ON t.id = r.tree LEFT JOIN answer a ON a.id = r.answer LEFT JOIN facts f ON f.id = a.facts;

CREATE VIEW coverage AS
SELECT s.name AS sweep, h.name AS host, o.scope_id AS scope, o.text AS scope_text,
  COALESCE(t.kind, 'unreachable') AS status, COALESCE(t.reason, 'not asked') AS reason, COALESCE(t.detail, '') AS detail,
  COALESCE(b.row_count, 0) AS row_count, {hex b.sha256} AS block_sha256
FROM result r JOIN sweep s ON s.id = r.sweep JOIN host h ON h.id = r.host
JOIN plan_scope ps ON ps.plan = s.plan JOIN scope o ON o.id = ps.scope
LEFT JOIN cell c ON c.tree = r.tree AND c.scope = ps.scope
LEFT JOIN status t ON t.id = c.status LEFT JOIN block b ON b.id = c.block;

CREATE VIEW findings AS
SELECT s.name AS sweep, {iso s.started} AS sweep_started, h.name AS host, f.fingerprint, f.rule_id, f.rule_title,
  f.severity, f.certainty, f.state, f.verdict, f.entity_kind, f.entity, f.key_path, f.summary, f.techniques, f.details
FROM judged j JOIN sweep s ON s.id = j.sweep JOIN host h ON h.id = j.host
JOIN sheet_item i ON i.sheet = j.sheet JOIN finding f ON f.id = i.item
WHERE j.kind = 1;

CREATE VIEW changes AS
SELECT s.name AS sweep, {iso s.started} AS sweep_started, h.name AS host, c.base, c.kind, c.entity_kind, c.entity,
  c.attribute, c.old_value, c.new_value, c.summary, c.details
FROM judged j JOIN sweep s ON s.id = j.sweep JOIN host h ON h.id = j.host
JOIN sheet_item i ON i.sheet = j.sheet JOIN change c ON c.id = i.item
WHERE j.kind = 2;

CREATE VIEW entities AS
SELECT s.name AS sweep, h.name AS host, e.kind, e.identity, e.attributes
FROM judged j JOIN sweep s ON s.id = j.sweep JOIN host h ON h.id = j.host
JOIN sheet_item i ON i.sheet = j.sheet JOIN entity e ON e.id = i.item
WHERE j.kind = 3;
