-- title: Is Sysmon there
-- answers: Without a row, the absence of Sysmon events says nothing.
SELECT name, path, status, start_type FROM services WHERE lower(name) LIKE 'sysmon%';
