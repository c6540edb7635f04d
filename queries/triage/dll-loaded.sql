-- title: Processes that have it loaded
-- answers: Removing the registration does not unload the DLL from these processes.
SELECT DISTINCT p.pid, p.name, p.path, p.cmdline, p.parent, p.start_time, m.path AS module
FROM processes p JOIN process_memory_map m ON m.pid = p.pid
WHERE lower(m.path) IN (lower(:dll), lower(:twin)) OR lower(m.path) LIKE '%\' || lower(:name);
