-- title: Who wrote it, from Sysmon
-- description: Events 12, 13 and 14 for this registry path, newest first.
-- answers: The image decides the open clause of a possible finding. No row proves nothing unless Sysmon runs and its configuration covers the key.
-- needs: Sysmon with registry events
SELECT datetime, eventid,
  json_extract(data, '$.EventData.EventType') AS event_type,
  json_extract(data, '$.EventData.Image') AS image,
  json_extract(data, '$.EventData.User') AS user,
  json_extract(data, '$.EventData.ProcessGuid') AS process_guid,
  json_extract(data, '$.EventData.TargetObject') AS target,
  json_extract(data, '$.EventData.Details') AS details
FROM windows_eventlog
WHERE channel = 'Microsoft-Windows-Sysmon/Operational' AND eventid IN (12, 13, 14) AND time_range = :time_range
  AND lower(json_extract(data, '$.EventData.TargetObject')) LIKE '%' || lower(:target_end);
