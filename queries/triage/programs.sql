-- title: Programs installed in the folder or near the time
-- description: The time is the key's last write; a day on either side.
SELECT name, version, publisher, install_date, install_location FROM programs
WHERE (:folder != '' AND instr(lower(install_location), lower(:folder)) > 0)
  OR replace(install_date, '-', '') BETWEEN :day_before AND :day_after;
