-- title: A system provider DLL that Windows does not own
-- description: Owner of the DLLs behind the stock SIP, trust, OID and Winsock registrations; servicing leaves them to TrustedInstaller (RID 2271478464).
-- answers: A row is a file that something other than servicing wrote. Compare its hash over hosts of the same build before anything else.
-- severity: high
-- attack: T1553.003, T1574.001
-- interval: 86400
SELECT f.path, f.uid, f.size, f.mtime, f.btime, f.file_version, f.original_filename, h.sha256
FROM file f LEFT JOIN hash h ON h.path = f.path
WHERE f.path IN (
    'C:\Windows\System32\AppxSip.dll', 'C:\Windows\SysWOW64\AppxSip.dll',
    'C:\Windows\System32\cryptdlg.dll', 'C:\Windows\SysWOW64\cryptdlg.dll',
    'C:\Windows\System32\cryptnet.dll', 'C:\Windows\SysWOW64\cryptnet.dll',
    'C:\Windows\System32\crypt32.dll', 'C:\Windows\SysWOW64\crypt32.dll',
    'C:\Windows\System32\EsdSip.dll', 'C:\Windows\SysWOW64\EsdSip.dll',
    'C:\Windows\System32\fwpuclnt.dll', 'C:\Windows\SysWOW64\fwpuclnt.dll',
    'C:\Windows\System32\msisip.dll', 'C:\Windows\SysWOW64\msisip.dll',
    'C:\Windows\System32\mswsock.dll', 'C:\Windows\SysWOW64\mswsock.dll',
    'C:\Windows\System32\napinsp.dll', 'C:\Windows\SysWOW64\napinsp.dll',
    'C:\Windows\System32\NLAapi.dll', 'C:\Windows\SysWOW64\NLAapi.dll',
    'C:\Windows\System32\nlansp_c.dll', 'C:\Windows\SysWOW64\nlansp_c.dll',
    'C:\Windows\System32\pnrpnsp.dll', 'C:\Windows\SysWOW64\pnrpnsp.dll',
    'C:\Windows\System32\rasadhlp.dll', 'C:\Windows\SysWOW64\rasadhlp.dll',
    'C:\Windows\System32\winrnr.dll', 'C:\Windows\SysWOW64\winrnr.dll',
    'C:\Windows\System32\wintrust.dll', 'C:\Windows\SysWOW64\wintrust.dll',
    'C:\Windows\System32\wshbth.dll', 'C:\Windows\SysWOW64\wshbth.dll',
    'C:\Windows\System32\wshext.dll', 'C:\Windows\SysWOW64\wshext.dll',
    'C:\Windows\System32\wshhyperv.dll', 'C:\Windows\SysWOW64\wshhyperv.dll',
    'C:\Windows\System32\wship6.dll', 'C:\Windows\SysWOW64\wship6.dll',
    'C:\Windows\System32\PsfSip.dll', 'C:\Windows\SysWOW64\PsfSip.dll',
    'C:\Windows\System32\wshirda.dll', 'C:\Windows\SysWOW64\wshirda.dll',
    'C:\Windows\System32\wshnetbs.dll', 'C:\Windows\SysWOW64\wshnetbs.dll',
    'C:\Windows\System32\wshqos.dll', 'C:\Windows\SysWOW64\wshqos.dll',
    'C:\Windows\System32\wshtcpip.dll', 'C:\Windows\SysWOW64\wshtcpip.dll',
    'C:\Windows\System32\wshunix.dll', 'C:\Windows\SysWOW64\wshunix.dll',
    'C:\Windows\System32\WindowsPowerShell\v1.0\pwrshsip.dll', 'C:\Windows\SysWOW64\WindowsPowerShell\v1.0\pwrshsip.dll')
  AND f.uid != 2271478464;
