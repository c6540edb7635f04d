-- title: A provider DLL loaded from beside a program
-- description: DLLs that Windows registers by bare file name, loaded from a folder that is neither Windows nor Program Files.
-- answers: Any row: the program's own folder won the DLL search. The file named as module runs in that process.
-- severity: medium
-- attack: T1574.001
-- interval: 3600
SELECT DISTINCT p.pid, p.name, p.path, m.path AS module
FROM processes p JOIN process_memory_map m ON m.pid = p.pid
WHERE (lower(m.path) LIKE '%\wintrust.dll' OR lower(m.path) LIKE '%\mso.dll' OR lower(m.path) LIKE '%\mswsock.dll'
    OR lower(m.path) LIKE '%\rasadhlp.dll' OR lower(m.path) LIKE '%\cryptnet.dll' OR lower(m.path) LIKE '%\cryptdlg.dll')
  AND lower(m.path) NOT LIKE '_:\windows\%' AND lower(m.path) NOT LIKE '_:\program files%';
