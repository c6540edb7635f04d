-- title: The host now
SELECT o.name AS os_name, o.build, o.arch, s.hostname, i.version AS osquery_version, t.unix_time
FROM os_version o, system_info s, osquery_info i, time t;
