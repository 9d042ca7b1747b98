-- The project's rows: procedures of a fictitious warehouse, their chunks, and the runs that maintained them.
\set ON_ERROR_STOP on

INSERT INTO languages (code, name) VALUES ('en-US', 'English'), ('de-DE', 'German'), ('vi-VN', 'Vietnamese');
INSERT INTO tags (name, color) SELECT 'topic-' || n, '#' || left(md5('tag' || n), 6) FROM generate_series(1, 80) n;
INSERT INTO pages (id, status, sort, slug, title, body, language, user_created, date_created, date_updated)
SELECT pg_temp.key('page', n), 'published', n, 'page-' || n, 'Page ' || n, p.body, 'en-US', pg_temp.key('user', n % 400), pg_temp.ago(n, '1 day'), pg_temp.ago(n, '6 hours')
  FROM generate_series(0, 299) n JOIN paragraph p ON p.id = n;

INSERT INTO knowledge_sources (id, name, kind, uri, synchronised_at)
SELECT pg_temp.key('source', n), 'Source ' || n, (ARRAY['handbook', 'wiki', 'scan'])[n % 3 + 1], 'https://source.example.com/' || n, pg_temp.ago(n, '1 hour') FROM generate_series(0, 23) n;

INSERT INTO knowledge_documents (id, status, source, document_key, title, language, body, word_count, user_created, date_created, date_updated)
SELECT pg_temp.key('document', n), (ARRAY['published', 'published', 'review', 'draft', 'archived'])[n % 5 + 1], pg_temp.key('source', n % 24),
       'procedure-' || n, 'Procedure ' || n || ': ' || s.body, 'en-US', a.body || E'\n\n' || b.body || E'\n\n' || c.body,
       (length(a.body) + length(b.body) + length(c.body)) / 6, pg_temp.key('user', n % 400), pg_temp.ago(n, '3 hours'), pg_temp.ago(n, '2 hours')
  FROM generate_series(0, 2399) n
  JOIN sentence s ON s.id = n % 1728
  JOIN paragraph a ON a.id = n % 2000 JOIN paragraph b ON b.id = (n * 3 + 1) % 2000 JOIN paragraph c ON c.id = (n * 7 + 2) % 2000;

INSERT INTO knowledge_documents_tags (knowledge_documents_id, tags_id)
SELECT pg_temp.key('document', n), (n * 3 + k * 29) % 80 + 1 FROM generate_series(0, 2399) n, generate_series(0, 2) k;

INSERT INTO knowledge_chunks (document, ordinal, body, checksum, metadata)
SELECT pg_temp.key('document', n), k, p.body, md5(p.body), jsonb_build_object('model', 'none', 'tokens', length(p.body) / 4, 'section', k)
  FROM generate_series(0, 2399) n CROSS JOIN generate_series(1, 22) k JOIN paragraph p ON p.id = (n * 17 + k * 131) % 2000;

INSERT INTO workflows (id, key, name, definition)
SELECT pg_temp.key('workflow', n), 'workflow-' || n, 'Workflow ' || n, json_build_object('steps', 4, 'schedule', format('%s * * * *', n % 60)) FROM generate_series(0, 15) n;
INSERT INTO workflow_steps (workflow, sort, name, kind)
SELECT pg_temp.key('workflow', n), k, (ARRAY['fetch', 'normalise', 'cut', 'publish'])[k], 'script' FROM generate_series(0, 15) n, generate_series(1, 4) k;
INSERT INTO workflow_runs (workflow, document, status, started_at, finished_at, result)
SELECT pg_temp.key('workflow', n % 16), pg_temp.key('document', n * 19 % 2400), CASE WHEN n % 23 = 0 THEN 'failed' ELSE 'succeeded' END,
       pg_temp.ago(20000 - n, '20 minutes'), pg_temp.ago(20000 - n, '20 minutes') + n % 300 * interval '1 second', json_build_object('changed', n % 9, 'checksum', md5('run' || n))
  FROM generate_series(1, 20000) n;
INSERT INTO workflow_run_steps (run, step, status, duration, message)
SELECT n, (n % 16) * 4 + k, 'succeeded', (n + k) % 75 * interval '1 second', CASE WHEN k = 4 THEN 'published' END FROM generate_series(1, 20000) n, generate_series(1, 4) k;

INSERT INTO context_packs (id, status, name, audience, summary, date_published)
SELECT pg_temp.key('pack', n), CASE WHEN n % 3 = 0 THEN 'draft' ELSE 'published' END, 'Pack ' || n, (ARRAY['dock', 'quality', 'office'])[n % 3 + 1], s.body, pg_temp.ago(n, '1 day')
  FROM generate_series(0, 119) n JOIN sentence s ON s.id = n * 3;
INSERT INTO context_pack_items (pack, document, sort)
SELECT pg_temp.key('pack', n), pg_temp.key('document', (n * 20 + k) % 2400), k FROM generate_series(0, 119) n, generate_series(1, 12) k;
