-- title: Services and drivers of the same folder
SELECT name, display_name, status, start_type, path, module_path, user_account FROM services
WHERE instr(lower(path), lower(:folder)) > 0 OR instr(lower(module_path), lower(:folder)) > 0;
