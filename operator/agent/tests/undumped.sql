-- These must be no difference between a copy and its source: what no dump carries, what a restore
-- prints or names in its own way, and rare kinds.
-- An extension as it was before pg_upgrade: a dump does not tell its version.
CREATE EXTENSION hstore VERSION '1.4';
-- What a failed CREATE INDEX CONCURRENTLY leaves.
CREATE INDEX unit_failed ON iu.unit (note);
COMMENT ON INDEX iu.unit_failed IS 'left over';
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'iu.unit_failed'::regclass;
COMMENT ON PUBLICATION everything IS 'for the warehouse';
-- Foreign keys to a table that has lost its oldest partition, and of one that was attached.
CREATE TABLE iu.day (day int PRIMARY KEY) PARTITION BY LIST (day);
CREATE TABLE iu.day_1 PARTITION OF iu.day FOR VALUES IN (1);
CREATE TABLE iu.day_2 PARTITION OF iu.day FOR VALUES IN (2);
CREATE TABLE iu.day_3 PARTITION OF iu.day FOR VALUES IN (3);
CREATE TABLE iu.note (day int CONSTRAINT note_day REFERENCES iu.day) PARTITION BY LIST (day);
ALTER TABLE iu.day DETACH PARTITION iu.day_1;
DROP TABLE iu.day_1;
CREATE TABLE iu.note_2 (day int CONSTRAINT a_name_of_its_own REFERENCES iu.day);
ALTER TABLE iu.note ATTACH PARTITION iu.note_2 FOR VALUES IN (2);
-- ANALYZE of a partitioned table would ask the servers of its foreign partitions.
CREATE TABLE iu.log (at int, line text) PARTITION BY LIST (at);
CREATE TABLE iu.log_1 PARTITION OF iu.log FOR VALUES IN (1);
CREATE FOREIGN TABLE iu.log_0 PARTITION OF iu.log FOR VALUES IN (0) SERVER elsewhere;
-- An expression in the body of a function and in a generated column is printed differently after a
-- restore.
CREATE FUNCTION iu.is_open(kind varchar(10)) RETURNS boolean LANGUAGE sql BEGIN ATOMIC; SELECT kind IN ('a', 'b'); END;
CREATE TABLE iu.graded (kind varchar(10), low boolean GENERATED ALWAYS AS (kind IN ('a', 'b')) STORED);
CREATE DOMAIN iu.grade AS varchar(10) CHECK (VALUE IN ('a', 'b'));
CREATE TRIGGER of_kind BEFORE UPDATE ON iu.unit FOR EACH ROW WHEN (NEW.kind IN ('a', 'b')) EXECUTE FUNCTION iu.touch();
-- Kinds that are rarely seen.
CREATE TEXT SEARCH PARSER iu.words (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype);
CREATE TEXT SEARCH CONFIGURATION iu.of_words (PARSER = iu.words);
CREATE TEXT SEARCH TEMPLATE iu.plain (INIT = dsimple_init, LEXIZE = dsimple_lexize);
CREATE DEFAULT CONVERSION iu.recode FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
CREATE ACCESS METHOD heap_too TYPE TABLE HANDLER heap_tableam_handler;
CREATE OPERATOR FAMILY iu.loose USING btree;
ALTER OPERATOR FAMILY iu.loose USING btree ADD OPERATOR 1 < (int, int), FUNCTION 1 btint4cmp(int, int);
CREATE AGGREGATE iu.total(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0', PARALLEL = SAFE);
ALTER TABLE iu.unit CLUSTER ON unit_pkey;
ALTER TABLE iu.unit DISABLE TRIGGER touch;
ALTER DATABASE directus CONNECTION LIMIT 90;
COMMENT ON DATABASE directus IS 'the shop';
