-- Helpers of the data files: generated prose and a fixed current time. Everything is a function of row numbers, so every load gives the same rows.
\set ON_ERROR_STOP on

CREATE FUNCTION pg_temp.key(kind text, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS
    $$ SELECT md5(kind || ':' || n)::uuid $$;

-- n steps of the given length before the fixed current time.
CREATE FUNCTION pg_temp.ago(n bigint, step interval) RETURNS timestamp with time zone LANGUAGE sql IMMUTABLE AS
    $$ SELECT timestamp with time zone '2026-05-17 06:00:00+00' - n * step $$;

CREATE TEMP TABLE sentence AS
SELECT s * 144 + v * 12 + o AS id,
       format('%s %s %s.', subjects[s + 1], verbs[v + 1], objects[o + 1]) AS body
  FROM (VALUES (
    ARRAY['The receiving clerk', 'Each carrier', 'The shift lead', 'A returned parcel', 'The cold store', 'Every pallet label',
          'The quality desk', 'A damaged carton', 'The loading dock', 'Each delivery note', 'The inventory count', 'A temperature record'],
    ARRAY['is checked against', 'must be signed before', 'is held back until', 'refers to', 'takes precedence over', 'is filed together with',
          'is compared with', 'follows', 'never replaces', 'is reported with', 'is released after', 'depends on'],
    ARRAY['the purchase order of the same day', 'the latest weekly plan', 'a second pair of eyes', 'the seal number on the door',
          'the agreement with the supplier', 'the list of open complaints', 'the scale reading at the gate', 'the calibration record of the sensor',
          'the photograph in the case file', 'the previous handover', 'the written consent of the customer', 'the safety notice on the wall'])
  ) AS words (subjects, verbs, objects), generate_series(0, 11) s, generate_series(0, 11) v, generate_series(0, 11) o;
ALTER TABLE sentence ADD PRIMARY KEY (id);

CREATE TEMP TABLE paragraph AS
SELECT p AS id, string_agg(s.body, ' ' ORDER BY k) AS body
  FROM generate_series(0, 1999) p CROSS JOIN generate_series(1, 6) k
  JOIN sentence s ON s.id = (p * 7 + k * 397 + p * k * 31) % 1728
 GROUP BY p;
ALTER TABLE paragraph ADD PRIMARY KEY (id);
ANALYZE paragraph;
