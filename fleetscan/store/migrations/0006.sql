-- Version 6: the chain of evidence says what was continued and pruned; baselines, triage and what was judged have hashes.
ALTER TABLE seal ADD COLUMN act TEXT NOT NULL DEFAULT 'finished';
ALTER TABLE baseline ADD COLUMN sha256 {blob};
ALTER TABLE triage ADD COLUMN sha256 {blob};
ALTER TABLE judging ADD COLUMN sha256 {blob};
DROP VIEW sweeps;

CREATE VIEW sweeps AS
SELECT s.name AS sweep, {iso s.started} AS started, {iso s.finished} AS finished, s.outcome, s.note,
  (SELECT COUNT(*) FROM result r WHERE r.sweep = s.id) AS hosts,
  (SELECT COUNT(*) FROM result r WHERE r.sweep = s.id AND r.tree IS NOT NULL) AS answered,
  p.digest AS plan_digest, p.rules_digest,
  (SELECT {hex e.sha256} FROM seal e WHERE e.sweep = s.id AND e.act = 'finished' ORDER BY e.number DESC LIMIT 1) AS seal,
  {iso s.pruned} AS pruned
FROM sweep s JOIN plan p ON p.id = s.plan;
