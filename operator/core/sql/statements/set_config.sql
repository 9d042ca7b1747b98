SELECT pg_catalog.set_config({parameter}, {value}, true)
