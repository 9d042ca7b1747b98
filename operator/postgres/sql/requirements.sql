-- What a server must offer to hold this database. The name of the column with the provider's locale
-- changed in 17.
SELECT pg_encoding_to_char(d.encoding)::text AS encoding,
       CASE d.datlocprovider WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END AS locale_provider,
       coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale', d.datcollate) AS collate,
       d.datctype AS ctype,
       current_setting('data_checksums')::bool AS data_checksums,
       pg_database_size(d.oid) AS bytes
  FROM pg_database d
 WHERE d.datname = current_database()
