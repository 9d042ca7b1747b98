-- Units that production has cut and verified so far: 300 documents, and the original of one of them as a large object.
\set ON_ERROR_STOP on

INSERT INTO iu.cut_profile (name, min_characters, max_characters) VALUES ('standard', 120, 360), ('coarse', 400, 1200);
INSERT INTO iu.tag (name) SELECT 'section-' || n FROM generate_series(1, 6) n;

INSERT INTO iu.source_document (document_key, title, language, registered_at)
SELECT 'kb/procedure-' || n, 'Procedure ' || n, 'en', pg_temp.ago(n, '1 day') FROM generate_series(1, 300) n;
INSERT INTO iu.source_section (document_id, ordinal, heading, body)
SELECT d.id, k, 'Section ' || k, p.body
  FROM iu.source_document d CROSS JOIN generate_series(1, 6) k JOIN paragraph p ON p.id = (d.id * 11 + k * 277) % 2000
 ORDER BY d.id, k;

-- One unit per section, cut by the coarse profile.
INSERT INTO iu.cut_run (run_key, document_id, profile_id, plan_sha256, unit_count, state, actor, started_at, finished_at)
SELECT 'import/' || d.document_key, d.id, 2, encode(sha256(convert_to(d.document_key, 'UTF8')), 'hex'), 6, 'complete', 'workflow_admin', d.registered_at, d.registered_at + interval '2 seconds'
  FROM iu.source_document d ORDER BY d.id;
INSERT INTO iu.unit (unit_key, document_id, cut_run_id, ordinal, title, body, body_sha256, state, created_at, updated_at)
SELECT format('%s#%s', d.document_key, lpad(s.ordinal::text, 3, '0')), d.id, r.id, s.ordinal, s.heading, s.body, encode(sha256(convert_to(s.body, 'UTF8')), 'hex'),
       CASE WHEN d.id % 9 = 0 THEN 'retired' ELSE 'verified' END::iu.unit_state, d.registered_at, d.registered_at
  FROM iu.source_section s JOIN iu.source_document d ON d.id = s.document_id JOIN iu.cut_run r ON r.document_id = d.id
 ORDER BY d.id, s.ordinal;
INSERT INTO iu.unit_provenance (unit_id, section_id, start_offset, end_offset)
SELECT u.id, s.id, 0, length(s.body) FROM iu.unit u JOIN iu.source_section s ON (s.document_id, s.ordinal) = (u.document_id, u.ordinal) ORDER BY u.id;
INSERT INTO iu.unit_relation (unit_id, related_unit_id, kind)
SELECT u.id, n.id, 'next' FROM iu.unit u JOIN iu.unit n ON (n.document_id, n.ordinal) = (u.document_id, u.ordinal + 1) ORDER BY u.id;
INSERT INTO iu.unit_tag (unit_id, tag_id) SELECT u.id, u.ordinal FROM iu.unit u ORDER BY u.id;

INSERT INTO iu.verify_run (run_key, cut_run_id, outcome, check_count, actor, verified_at)
SELECT 'verify/' || r.run_key, r.id, 'passed', 18, 'workflow_admin', r.finished_at FROM iu.cut_run r ORDER BY r.id;
INSERT INTO iu.verification (verify_run_id, unit_id, check_name, outcome)
SELECT v.id, u.id, c, 'passed'
  FROM iu.verify_run v JOIN iu.unit u ON u.cut_run_id = v.cut_run_id CROSS JOIN unnest(ARRAY['digest', 'provenance', 'sequence']) c
 ORDER BY v.id, u.id, c;
INSERT INTO iu.event (occurred_at, actor, kind, subject, payload)
SELECT r.finished_at, 'workflow_admin', 'cut', r.run_key, jsonb_build_object('units', r.unit_count) FROM iu.cut_run r ORDER BY r.id;

-- 32 KiB in place of a scan. The OID is fixed, so that two loads are equal.
SELECT lo_from_bytea(424242, decode(string_agg(md5('scan' || n), '' ORDER BY n), 'hex')) AS original FROM generate_series(1, 2048) n \gset
ALTER LARGE OBJECT :original OWNER TO workflow_admin;
UPDATE iu.source_document SET original = :original WHERE document_key = 'kb/procedure-1';
