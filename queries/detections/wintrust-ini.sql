-- title: SIP registrations from a text file
-- description: wintrust.dll reads wintrust.dll.ini from its own folder and loads every DLL that it lists; stock System32 and SysWOW64 have no such file.
-- answers: Any row: signature checks of the whole machine are governed by this file. Read it, and look for the DLLs it names.
-- severity: high
-- attack: T1553.003
-- interval: 3600
SELECT f.path, f.size, f.mtime, f.btime, f.uid, h.sha256
FROM file f LEFT JOIN hash h ON h.path = f.path
WHERE f.path IN ('C:\Windows\System32\wintrust.dll.ini', 'C:\Windows\SysWOW64\wintrust.dll.ini');
