-- title: A provider DLL loaded from beside a program
-- description: DLLs that stand behind the stock SIP, trust, OID and Winsock registrations, loaded from a folder that is neither Windows nor Program Files, or from one of Windows where users can write.
-- answers: Any row: the program's own folder won the DLL search. The file named as module runs in that process.
-- severity: medium
-- attack: T1574.001
-- interval: 3600
SELECT DISTINCT p.pid, p.name, p.path, m.path AS module
FROM processes p JOIN process_memory_map m ON m.pid = p.pid
WHERE (lower(m.path) LIKE '%\appxsip.dll' OR lower(m.path) LIKE '%\crypt32.dll' OR lower(m.path) LIKE '%\cryptdlg.dll'
    OR lower(m.path) LIKE '%\cryptnet.dll' OR lower(m.path) LIKE '%\esdsip.dll' OR lower(m.path) LIKE '%\fwpuclnt.dll'
    OR lower(m.path) LIKE '%\msisip.dll' OR lower(m.path) LIKE '%\mso.dll' OR lower(m.path) LIKE '%\mswsock.dll'
    OR lower(m.path) LIKE '%\napinsp.dll' OR lower(m.path) LIKE '%\nlaapi.dll' OR lower(m.path) LIKE '%\nlansp_c.dll'
    OR lower(m.path) LIKE '%\pnrpnsp.dll' OR lower(m.path) LIKE '%\pwrshsip.dll' OR lower(m.path) LIKE '%\rasadhlp.dll'
    OR lower(m.path) LIKE '%\winrnr.dll' OR lower(m.path) LIKE '%\wintrust.dll' OR lower(m.path) LIKE '%\wshbth.dll'
    OR lower(m.path) LIKE '%\wshext.dll' OR lower(m.path) LIKE '%\wshhyperv.dll' OR lower(m.path) LIKE '%\wship6.dll'
    OR lower(m.path) LIKE '%\psfsip.dll' OR lower(m.path) LIKE '%\wshirda.dll' OR lower(m.path) LIKE '%\wshnetbs.dll'
    OR lower(m.path) LIKE '%\wshqos.dll' OR lower(m.path) LIKE '%\wshtcpip.dll' OR lower(m.path) LIKE '%\wshunix.dll')
  AND (lower(m.path) NOT LIKE '_:\windows\%' AND lower(m.path) NOT LIKE '_:\program files\%'
      AND lower(m.path) NOT LIKE '_:\program files (%)\%'
    OR lower(m.path) LIKE '_:\windows\temp\%' OR lower(m.path) LIKE '_:\windows\tasks\%'
    OR lower(m.path) LIKE '_:\windows\tracing\%' OR lower(m.path) LIKE '_:\windows\debug\%'
    OR lower(m.path) LIKE '_:\windows\%\spool\%' OR lower(m.path) LIKE '_:\windows\%\tasks\%');
