-- Version 1: sweeps, content-addressed blocks and trees, evidence, baselines.
-- {serial}: a number that is never used again; {blob}: bytes; {clustered}: rows live in their primary key.
CREATE TABLE meta (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO meta (name, value) VALUES ('application', 'fleetscan'), ('generation', '0');
CREATE TABLE host (id {serial}, name TEXT NOT NULL UNIQUE);
CREATE TABLE placement (id {serial}, sha256 {blob} NOT NULL UNIQUE, engine TEXT NOT NULL, groups TEXT NOT NULL);
CREATE TABLE scope (id {serial}, scope_id TEXT NOT NULL UNIQUE, text TEXT NOT NULL);
CREATE TABLE plan (id {serial}, sha256 {blob} NOT NULL UNIQUE, digest TEXT NOT NULL, rules_digest TEXT NOT NULL, record {blob} NOT NULL);
CREATE TABLE plan_scope (plan BIGINT NOT NULL REFERENCES plan (id), scope BIGINT NOT NULL REFERENCES scope (id), PRIMARY KEY (plan, scope)){clustered};
CREATE TABLE sweep (id {serial}, name TEXT UNIQUE, plan BIGINT NOT NULL REFERENCES plan (id), started BIGINT NOT NULL, finished BIGINT, outcome TEXT NOT NULL, note TEXT NOT NULL, pruned BIGINT);
CREATE TABLE block (id {serial}, sha256 {blob} NOT NULL UNIQUE, row_count BIGINT NOT NULL, content {blob} NOT NULL);
CREATE TABLE status (id {serial}, sha256 {blob} NOT NULL UNIQUE, kind TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL, record {blob} NOT NULL);
CREATE TABLE tree (id {serial}, sha256 {blob} NOT NULL UNIQUE, complete BIGINT NOT NULL, covered BIGINT NOT NULL);
CREATE TABLE cell (tree BIGINT NOT NULL, scope BIGINT NOT NULL, status BIGINT NOT NULL, block BIGINT, PRIMARY KEY (tree, scope)){clustered};
CREATE TABLE facts (id {serial}, sha256 {blob} NOT NULL UNIQUE, hostname TEXT NOT NULL, os_name TEXT NOT NULL, os_version TEXT NOT NULL, os_build TEXT NOT NULL, arch TEXT NOT NULL, osquery_version TEXT NOT NULL, record {blob} NOT NULL);
CREATE TABLE raw (id {serial}, sha256 {blob} NOT NULL UNIQUE, size BIGINT NOT NULL, content {blob} NOT NULL);
CREATE TABLE answer (id {serial}, sha256 {blob} NOT NULL UNIQUE, facts BIGINT NOT NULL, blind_spots {blob});
CREATE TABLE answer_raw (answer BIGINT NOT NULL, position BIGINT NOT NULL, statement_id TEXT NOT NULL, raw BIGINT NOT NULL, PRIMARY KEY (answer, position)){clustered};
CREATE TABLE result (sweep BIGINT NOT NULL, host BIGINT NOT NULL, placement BIGINT NOT NULL, tree BIGINT, answer BIGINT, started BIGINT, duration BIGINT, PRIMARY KEY (sweep, host)){clustered};
CREATE TABLE seal (number BIGINT NOT NULL PRIMARY KEY, sweep BIGINT NOT NULL REFERENCES sweep (id), sha256 {blob} NOT NULL UNIQUE, content {blob} NOT NULL);
CREATE TABLE baseline (name TEXT NOT NULL PRIMARY KEY, sweep BIGINT NOT NULL REFERENCES sweep (id), host BIGINT REFERENCES host (id), created BIGINT NOT NULL, note TEXT NOT NULL);
