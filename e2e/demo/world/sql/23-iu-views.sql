-- The 13 views that readers of schema iu use instead of its tables; they run with their owner's privileges.
\set ON_ERROR_STOP on
SET ROLE workflow_admin;

CREATE VIEW iu.document_overview AS
    SELECT d.document_key, d.title, d.language, d.original IS NOT NULL AS has_original,
           (SELECT count(*) FROM iu.source_section s WHERE s.document_id = d.id) AS sections,
           (SELECT count(*) FROM iu.unit u WHERE u.document_id = d.id AND u.state <> 'retired') AS units
      FROM iu.source_document d;

CREATE VIEW iu.document_uncut AS
    SELECT d.document_key, d.title, d.registered_at
      FROM iu.source_document d
     WHERE NOT EXISTS (SELECT FROM iu.unit u WHERE u.document_id = d.id);

CREATE VIEW iu.section_outline AS
    SELECT d.document_key, s.ordinal, s.heading, length(s.body) AS characters
      FROM iu.source_section s JOIN iu.source_document d ON d.id = s.document_id;

CREATE VIEW iu.section_coverage AS
    SELECT d.document_key, s.ordinal, length(s.body) AS characters, coalesce(sum(p.end_offset - p.start_offset), 0) AS covered
      FROM iu.source_section s
      JOIN iu.source_document d ON d.id = s.document_id
      LEFT JOIN iu.unit_provenance p ON p.section_id = s.id
     GROUP BY d.document_key, s.ordinal, length(s.body);

CREATE VIEW iu.unit_current AS
    SELECT u.unit_key, d.document_key, u.ordinal, u.title, u.body, u.state
      FROM iu.unit u JOIN iu.source_document d ON d.id = u.document_id
     WHERE u.state IN ('draft', 'verified');

CREATE VIEW iu.unit_origin AS
    SELECT u.unit_key, s.ordinal AS section, s.heading, p.start_offset, p.end_offset
      FROM iu.unit u
      JOIN iu.unit_provenance p ON p.unit_id = u.id
      JOIN iu.source_section s ON s.id = p.section_id;

CREATE VIEW iu.unit_sequence AS
    SELECT u.unit_key, n.unit_key AS next_unit_key
      FROM iu.unit_relation r
      JOIN iu.unit u ON u.id = r.unit_id
      JOIN iu.unit n ON n.id = r.related_unit_id
     WHERE r.kind = 'next';

CREATE VIEW iu.unit_labels AS
    SELECT u.unit_key, array_agg(t.name ORDER BY t.name) AS tags
      FROM iu.unit u
      JOIN iu.unit_tag ut ON ut.unit_id = u.id
      JOIN iu.tag t ON t.id = ut.tag_id
     GROUP BY u.unit_key;

CREATE VIEW iu.tag_usage AS
    SELECT t.name, count(ut.id) AS units
      FROM iu.tag t LEFT JOIN iu.unit_tag ut ON ut.tag_id = t.id
     GROUP BY t.name;

CREATE VIEW iu.cut_run_summary AS
    SELECT r.run_key, d.document_key, p.name AS profile, r.state, r.unit_count, r.finished_at - r.started_at AS took
      FROM iu.cut_run r
      JOIN iu.source_document d ON d.id = r.document_id
      JOIN iu.cut_profile p ON p.id = r.profile_id;

CREATE VIEW iu.verify_run_summary AS
    SELECT v.run_key, r.run_key AS cut_run_key, v.outcome, v.check_count, v.verified_at
      FROM iu.verify_run v JOIN iu.cut_run r ON r.id = v.cut_run_id;

CREATE VIEW iu.finding AS
    SELECT v.run_key, u.unit_key, c.check_name, c.detail
      FROM iu.verification c
      JOIN iu.verify_run v ON v.id = c.verify_run_id
      JOIN iu.unit u ON u.id = c.unit_id
     WHERE c.outcome = 'failed';

CREATE VIEW iu.activity_by_day AS
    SELECT date_trunc('day', e.occurred_at) AS day, e.kind, count(*) AS events
      FROM iu.event e
     GROUP BY date_trunc('day', e.occurred_at), e.kind;

RESET ROLE;
