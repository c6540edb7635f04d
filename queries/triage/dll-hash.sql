-- title: Hashes of the file and its twin
-- description: Look these up where the suspect host cannot interfere.
-- answers: A hash does not pass through the signature code of the host, so it is evidence even when that code is hijacked.
SELECT path, md5, sha1, sha256 FROM hash WHERE path IN (:dll, :twin);
