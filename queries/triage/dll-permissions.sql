-- title: Who may write the file
-- answers: A principal other than TrustedInstaller, SYSTEM or Administrators with write access means anyone of that group can replace the DLL.
SELECT path, type, principal, access, inherited_from FROM ntfs_acl_permissions WHERE path = :dll;
