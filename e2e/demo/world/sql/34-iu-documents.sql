-- The four documents that the scenarios work on. None has been cut yet, but a person has already written unit 3 of kb/warehouse-safety by hand.
\set ON_ERROR_STOP on

CREATE TEMP TABLE draft (document_key text, ordinal integer, heading text, body text);

INSERT INTO draft VALUES
('kb/returns-policy', 1, 'Returns window',
$$Customers may return an article within thirty days of delivery. The day of delivery is the day on which the carrier's scan reads "delivered".

A return that reaches us later is accepted when the parcel was handed to the carrier in time. The carrier's receipt is the proof, and a photograph of it will do.

Articles that were made to order are exempt. The order confirmation says so, in the line of the article itself.$$),
('kb/returns-policy', 2, 'Inspection',
$$Every returned article is inspected on the day of its arrival. The inspector compares the serial number with the order before the seal is broken.

An article without a seal goes to the quality desk, whatever it looks like. The inspector notes who opened the parcel and at what time.

Damage is photographed from three sides. The photographs are stored with the case and are never sent to the customer without a word of explanation.$$),
('kb/returns-policy', 3, 'Refund',
$$The refund is paid by the means that the customer paid with. It is released by a second person when it exceeds two hundred euros.

Postage is refunded when the article was wrong or damaged. It is not refunded when the customer changed their mind; the confirmation says so before the label is printed.$$),

('kb/warehouse-safety', 1, 'Walkways',
$$Walkways are marked in yellow and are kept free at all times. A pallet that stands on a walkway is moved at once by whoever sees it, or reported to the shift lead.

Nobody walks under a raised fork. Drivers stop and lower the load before they speak to anybody on foot.$$),
('kb/warehouse-safety', 2, 'Loading dock',
$$The dock door stays closed until the lorry is chocked. The key of the lorry hangs on the board while anybody works inside it.

The dock plate is inspected every Monday morning. A plate that rocks is locked, and the door beside it is used instead until the plate is repaired.$$),

('kb/carrier-handover', 1, 'Before departure',
$$The seal number is written on the delivery note before the door is closed. The driver reads it aloud and signs beside it.

A lorry without a working temperature recorder takes no chilled goods. The dispatcher may not grant an exception, and neither may the shift lead.$$),

('kb/cold-chain', 1, 'Reception',
$$Chilled goods are measured within five minutes of arrival. Two readings are taken, one at the door and one in the middle of the load.

A reading above eight degrees stops the reception. The load stays in the lorry with its engine running until the quality manager has decided.$$),
('kb/cold-chain', 2, 'Storage',
$$The store is kept between two and six degrees. The sensor at the door is not counted when the door has been open during the last ten minutes.

An alarm that nobody answers within a quarter of an hour calls the on-duty manager. The manager comes in person; a call back is not enough.$$);

INSERT INTO iu.source_document (document_key, title, language, registered_at)
SELECT document_key, initcap(replace(split_part(document_key, '/', 2), '-', ' ')), 'en', '2026-05-16 09:00:00+00' FROM draft GROUP BY document_key ORDER BY document_key;
INSERT INTO iu.source_section (document_id, ordinal, heading, body)
SELECT d.id, s.ordinal, s.heading, s.body FROM draft s JOIN iu.source_document d USING (document_key) ORDER BY d.id, s.ordinal;

WITH run AS (
    INSERT INTO iu.cut_run (run_key, document_id, profile_id, plan_sha256, unit_count, state, actor, started_at, finished_at)
    SELECT 'by-hand/warehouse-safety', d.id, 1, encode(sha256('by hand'), 'hex'), 1, 'complete', 'workflow_admin', d.registered_at, d.registered_at
      FROM iu.source_document d WHERE d.document_key = 'kb/warehouse-safety'
    RETURNING id, document_id
), unit AS (
    INSERT INTO iu.unit (unit_key, document_id, cut_run_id, ordinal, title, body, body_sha256, created_at, updated_at)
    SELECT 'kb/warehouse-safety#003', run.document_id, run.id, 3, s.heading, s.body, encode(sha256(convert_to(s.body, 'UTF8')), 'hex'), '2026-05-16 10:00:00+00', '2026-05-16 10:00:00+00'
      FROM run JOIN iu.source_section s ON s.document_id = run.document_id AND s.ordinal = 2
    RETURNING id, document_id, body
)
INSERT INTO iu.unit_provenance (unit_id, section_id, start_offset, end_offset)
SELECT unit.id, s.id, 0, length(unit.body) FROM unit JOIN iu.source_section s ON s.document_id = unit.document_id AND s.ordinal = 2;
