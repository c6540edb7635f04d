-- Version 4: what triage answered, the latest of every finding.
CREATE TABLE triage (fingerprint TEXT NOT NULL PRIMARY KEY, taken BIGINT NOT NULL, record {blob} NOT NULL);
