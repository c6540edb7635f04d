-- title: The file and its twin
-- description: Size, times, owner and version of the DLL and of the file a process of the other bitness would load.
-- answers: No row means the file is not there or could not be opened. uid is the RID of the owner: stock system files belong to TrustedInstaller.
SELECT path, size, btime, mtime, ctime, uid, gid, attributes, file_version, product_version, original_filename
FROM file WHERE path IN (:dll, :twin);
