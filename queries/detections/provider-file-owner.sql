-- title: A system provider DLL that Windows does not own
-- description: Owner of the DLLs behind the stock SIP, trust and Winsock registrations; servicing leaves them to TrustedInstaller (RID 2271478464).
-- answers: A row is a file that something other than servicing wrote. Compare its hash over hosts of the same build before anything else.
-- severity: high
-- attack: T1553.003, T1574.001
-- interval: 86400
SELECT f.path, f.uid, f.size, f.mtime, f.btime, f.file_version, f.original_filename, h.sha256
FROM file f LEFT JOIN hash h ON h.path = f.path
WHERE f.path IN ('C:\Windows\System32\wintrust.dll', 'C:\Windows\SysWOW64\wintrust.dll',
    'C:\Windows\System32\crypt32.dll', 'C:\Windows\SysWOW64\crypt32.dll',
    'C:\Windows\System32\mswsock.dll', 'C:\Windows\SysWOW64\mswsock.dll',
    'C:\Windows\System32\WindowsPowerShell\v1.0\pwrshsip.dll', 'C:\Windows\SysWOW64\WindowsPowerShell\v1.0\pwrshsip.dll',
    'C:\Windows\System32\msisip.dll', 'C:\Windows\SysWOW64\msisip.dll',
    'C:\Windows\System32\wshext.dll', 'C:\Windows\SysWOW64\wshext.dll')
  AND f.uid != 2271478464;
