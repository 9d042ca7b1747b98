-- Directus' own rows: users and their permissions, the data model, files, and a year of activity with its revisions.
\set ON_ERROR_STOP on

INSERT INTO directus_roles (id, name, icon, description)
SELECT pg_temp.key('role', n), name, icon, name || ' of the knowledge base'
  FROM (VALUES (0, 'Administrator', 'verified'), (1, 'Editor', 'edit'), (2, 'Reviewer', 'fact_check'), (3, 'Reader', 'visibility')) r (n, name, icon);

INSERT INTO directus_policies (id, name, description, admin_access, app_access)
SELECT pg_temp.key('policy', n), name, name || ' policy', n = 0, true
  FROM (VALUES (0, 'Administration'), (1, 'Editing'), (2, 'Reviewing'), (3, 'Reading')) p (n, name);

INSERT INTO directus_access (id, role, policy, sort)
SELECT pg_temp.key('access', n), pg_temp.key('role', n), pg_temp.key('policy', n), 1 FROM generate_series(0, 3) n;

INSERT INTO directus_users (id, first_name, last_name, email, password, title, role, last_access, last_page, status)
SELECT pg_temp.key('user', n), 'Person', n::text, format('person%s@example.com', n),
       '$argon2id$v=19$m=65536,t=3,p=4$' || left(md5('salt' || n), 22) || '$' || md5('password' || n),
       (ARRAY['Clerk', 'Shift lead', 'Quality manager', 'Analyst'])[n % 4 + 1], pg_temp.key('role', CASE n WHEN 0 THEN 0 ELSE 1 + n % 3 END),
       pg_temp.ago(n, '7 hours'), '/content/knowledge_documents', CASE WHEN n % 17 = 5 THEN 'suspended' ELSE 'active' END
  FROM generate_series(0, 399) n;

INSERT INTO directus_folders (id, name, parent)
SELECT pg_temp.key('folder', n), 'Folder ' || n, CASE WHEN n >= 8 THEN pg_temp.key('folder', n / 8 - 1) END FROM generate_series(0, 63) n;

INSERT INTO directus_collections (collection, icon, note, sort, accountability)
SELECT c, 'box', initcap(replace(c, '_', ' ')), n, 'all'
  FROM unnest(ARRAY['languages', 'tags', 'pages', 'knowledge_sources', 'knowledge_documents', 'knowledge_documents_tags', 'knowledge_chunks',
                    'workflows', 'workflow_steps', 'workflow_runs', 'workflow_run_steps', 'context_packs', 'context_pack_items']) WITH ORDINALITY x (c, n);

INSERT INTO directus_fields (collection, field, interface, sort, width, required)
SELECT a.attrelid::regclass::text, a.attname, CASE WHEN a.attname ~ 'date|_at$' THEN 'datetime' ELSE 'input' END, a.attnum, 'half', a.attnotnull
  FROM pg_attribute a JOIN directus_collections c ON a.attrelid = c.collection::regclass
 WHERE a.attnum > 0 AND NOT a.attisdropped ORDER BY c.sort, a.attnum;

INSERT INTO directus_relations (many_collection, many_field, one_collection)
VALUES ('knowledge_documents', 'source', 'knowledge_sources'), ('knowledge_chunks', 'document', 'knowledge_documents'),
       ('knowledge_documents_tags', 'knowledge_documents_id', 'knowledge_documents'), ('knowledge_documents_tags', 'tags_id', 'tags'),
       ('workflow_steps', 'workflow', 'workflows'), ('workflow_runs', 'workflow', 'workflows'), ('workflow_run_steps', 'run', 'workflow_runs'),
       ('context_pack_items', 'pack', 'context_packs'), ('context_pack_items', 'document', 'knowledge_documents');

INSERT INTO directus_permissions (collection, action, permissions, fields, policy)
SELECT c.collection, a, '{}', '*', pg_temp.key('policy', p)
  FROM directus_collections c, (VALUES (1, 'create'), (1, 'read'), (1, 'update'), (2, 'read'), (2, 'update'), (3, 'read')) x (p, a)
 ORDER BY c.sort, p, a;

INSERT INTO directus_files (id, storage, filename_disk, filename_download, title, type, folder, uploaded_by, created_on, modified_on, filesize, width, height, description, tags, metadata)
SELECT pg_temp.key('file', n), 'local', pg_temp.key('file', n) || '.jpg', format('photograph-%s.jpg', n), 'Photograph ' || n, 'image/jpeg',
       pg_temp.key('folder', n % 64), pg_temp.key('user', n % 400), pg_temp.ago(n, '40 minutes'), pg_temp.ago(n, '40 minutes'),
       80000 + n * 7919 % 900000, 1600, 1200, s.body, 'dock,handover',
       json_build_object('exif', json_build_object('FNumber', 2.8, 'ISO', 100 * (1 + n % 8)), 'checksum', md5(n::text))
  FROM generate_series(0, 7999) n JOIN sentence s ON s.id = n % 1728;

INSERT INTO directus_activity (action, "user", "timestamp", ip, user_agent, collection, item, origin)
SELECT (ARRAY['update', 'create', 'update', 'login', 'update', 'delete'])[n % 6 + 1], pg_temp.key('user', n * 31 % 400), pg_temp.ago(100000 - n, '5 minutes'),
       format('198.51.100.%s', n % 254 + 1), 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0',
       (ARRAY['knowledge_documents', 'pages', 'context_packs', 'workflow_runs'])[n % 4 + 1], pg_temp.key('document', n * 13 % 2400)::text, 'https://kb.example.com'
  FROM generate_series(1, 100000) n;

INSERT INTO directus_revisions (activity, collection, item, data, delta)
SELECT n * 2, 'knowledge_documents', pg_temp.key('document', n * 26 % 2400)::text,
       json_build_object('id', pg_temp.key('document', n * 26 % 2400), 'status', 'published', 'title', 'Procedure ' || n * 26 % 2400, 'body', p.body),
       json_build_object('status', 'published', 'word_count', length(p.body) / 6)
  FROM generate_series(1, 50000) n JOIN paragraph p ON p.id = n * 37 % 2000;

INSERT INTO directus_sessions (token, "user", expires, ip, user_agent, origin)
SELECT md5('session' || n) || md5('token' || n), pg_temp.key('user', n % 400), pg_temp.ago(n - 1500, '2 hours'), format('198.51.100.%s', n % 254 + 1),
       'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0', 'https://kb.example.com'
  FROM generate_series(1, 3000) n;

INSERT INTO directus_notifications ("timestamp", status, recipient, sender, subject, message, collection, item)
SELECT pg_temp.ago(n, '3 hours'), (ARRAY['inbox', 'archived'])[n % 2 + 1], pg_temp.key('user', n % 400), pg_temp.key('user', n * 7 % 400),
       'Review requested', s.body, 'knowledge_documents', pg_temp.key('document', n % 2400)::text
  FROM generate_series(1, 4000) n JOIN sentence s ON s.id = n % 1728;

INSERT INTO directus_comments (id, collection, item, comment, date_created, date_updated, user_created)
SELECT pg_temp.key('comment', n), 'knowledge_documents', pg_temp.key('document', n * 5 % 2400)::text, s.body,
       pg_temp.ago(n, '4 hours'), pg_temp.ago(n, '4 hours'), pg_temp.key('user', n % 400)
  FROM generate_series(1, 4000) n JOIN sentence s ON s.id = n * 11 % 1728;

INSERT INTO directus_presets (bookmark, "user", collection, layout)
SELECT 'My documents', pg_temp.key('user', n), 'knowledge_documents', 'tabular' FROM generate_series(0, 399) n;

INSERT INTO directus_dashboards (id, name, user_created, date_created)
SELECT pg_temp.key('dashboard', n), 'Dashboard ' || n, pg_temp.key('user', n), pg_temp.ago(n, '9 days') FROM generate_series(0, 4) n;
INSERT INTO directus_panels (id, dashboard, name, type, position_x, position_y, width, height, show_header, date_created)
SELECT pg_temp.key('panel', n), pg_temp.key('dashboard', n % 5), 'Panel ' || n, 'metric', n % 4 * 12, n / 4 * 8, 12, 8, true, pg_temp.ago(n, '8 days') FROM generate_series(0, 19) n;

INSERT INTO directus_flows (id, name, trigger, options, user_created, date_created)
SELECT pg_temp.key('flow', n), 'Flow ' || n, 'event', '{"type": "action", "scope": ["items.update"]}', pg_temp.key('user', 0), pg_temp.ago(n, '20 days') FROM generate_series(0, 11) n;
INSERT INTO directus_operations (id, name, key, type, position_x, position_y, flow, date_created)
SELECT pg_temp.key('operation', n), 'Operation ' || n, 'operation_' || n, 'item-update', 19, 1 + n % 3 * 18, pg_temp.key('flow', n % 12), pg_temp.ago(n, '6 days') FROM generate_series(0, 35) n;

INSERT INTO directus_versions (id, key, name, collection, item, hash, user_created, date_created, date_updated)
SELECT pg_temp.key('version', n), 'draft-' || n, 'Draft ' || n, 'pages', pg_temp.key('page', n)::text, md5('version' || n), pg_temp.key('user', n),
       pg_temp.ago(n, '2 days'), pg_temp.ago(n, '1 day') FROM generate_series(0, 59) n;
INSERT INTO directus_shares (id, name, collection, item, user_created, date_created, times_used)
SELECT pg_temp.key('share', n), 'Share ' || n, 'pages', pg_temp.key('page', n)::text, pg_temp.key('user', n), pg_temp.ago(n, '5 days'), n FROM generate_series(0, 19) n;
INSERT INTO directus_translations (id, language, key, value)
SELECT pg_temp.key('translation', n), (ARRAY['en-US', 'de-DE'])[n % 2 + 1], 'label.' || n / 2, s.body FROM generate_series(0, 199) n JOIN sentence s ON s.id = n;
INSERT INTO directus_webhooks (name, url, actions, collections) VALUES ('Search index', 'https://search.example.com/reindex', 'create,update,delete', 'knowledge_documents');
INSERT INTO directus_extensions (id, folder, source) VALUES (pg_temp.key('extension', 1), 'context-pack-editor', 'local');
INSERT INTO directus_settings (project_name, project_url, default_language) VALUES ('Knowledge base', 'https://kb.example.com', 'en-US');
INSERT INTO directus_migrations (version, name, "timestamp")
SELECT to_char(date '2020-10-29' + n * 16, 'YYYYMMDD') || 'A', 'Migration ' || n, pg_temp.ago(120 - n, '16 days') FROM generate_series(0, 119) n;
