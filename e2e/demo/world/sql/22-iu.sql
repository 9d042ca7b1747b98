-- Schema iu: information units cut from source documents, their provenance, and the results of verification.
\set ON_ERROR_STOP on
SET ROLE workflow_admin;

CREATE SCHEMA iu;

CREATE DOMAIN iu.sha256 AS text CHECK (VALUE ~ '^[0-9a-f]{64}$');
CREATE TYPE iu.unit_state AS ENUM ('draft', 'verified', 'retired');
CREATE TYPE iu.run_state AS ENUM ('running', 'complete', 'abandoned');
CREATE TYPE iu.outcome AS ENUM ('passed', 'failed');

CREATE TABLE iu.source_document (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    document_key text NOT NULL UNIQUE,
    title text NOT NULL,
    language text NOT NULL,
    original oid,                       -- large object with the scanned original
    registered_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE iu.source_section (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    document_id bigint NOT NULL REFERENCES iu.source_document,
    ordinal integer NOT NULL,
    heading text NOT NULL,
    body text NOT NULL,
    UNIQUE (document_id, ordinal)
);

CREATE TABLE iu.cut_profile (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    min_characters integer NOT NULL,
    max_characters integer NOT NULL,
    CHECK (0 < min_characters AND min_characters < max_characters)
);

CREATE TABLE iu.tag (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE
);

CREATE TABLE iu.cut_run (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_key text NOT NULL UNIQUE,
    document_id bigint NOT NULL REFERENCES iu.source_document,
    profile_id bigint NOT NULL REFERENCES iu.cut_profile,
    plan_sha256 iu.sha256 NOT NULL,
    unit_count integer NOT NULL,
    state iu.run_state DEFAULT 'running' NOT NULL,
    actor name DEFAULT SESSION_USER NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    finished_at timestamp with time zone
);

CREATE TABLE iu.unit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    unit_key text NOT NULL UNIQUE,
    document_id bigint NOT NULL REFERENCES iu.source_document,
    cut_run_id bigint NOT NULL REFERENCES iu.cut_run,
    ordinal integer NOT NULL,
    title text NOT NULL,
    body text NOT NULL,
    body_sha256 iu.sha256 NOT NULL,
    state iu.unit_state DEFAULT 'draft' NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE iu.unit_provenance (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    unit_id bigint NOT NULL REFERENCES iu.unit UNIQUE,
    section_id bigint NOT NULL REFERENCES iu.source_section,
    start_offset integer NOT NULL,
    end_offset integer NOT NULL,
    CHECK (0 <= start_offset AND start_offset < end_offset)
);

CREATE TABLE iu.unit_relation (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    unit_id bigint NOT NULL REFERENCES iu.unit,
    related_unit_id bigint NOT NULL REFERENCES iu.unit,
    kind character varying(16) NOT NULL CHECK (kind IN ('next', 'supersedes', 'see-also')),
    UNIQUE (unit_id, related_unit_id, kind)
);

CREATE TABLE iu.unit_tag (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    unit_id bigint NOT NULL REFERENCES iu.unit,
    tag_id bigint NOT NULL REFERENCES iu.tag,
    UNIQUE (unit_id, tag_id)
);

CREATE TABLE iu.verify_run (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_key text NOT NULL UNIQUE,
    cut_run_id bigint NOT NULL REFERENCES iu.cut_run,
    outcome iu.outcome NOT NULL,
    check_count integer NOT NULL,
    actor name DEFAULT SESSION_USER NOT NULL,
    verified_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE iu.verification (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    verify_run_id bigint NOT NULL REFERENCES iu.verify_run,
    unit_id bigint NOT NULL REFERENCES iu.unit,
    check_name text NOT NULL,
    outcome iu.outcome NOT NULL,
    detail text,
    UNIQUE (verify_run_id, unit_id, check_name)
);

CREATE TABLE iu.event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    occurred_at timestamp with time zone DEFAULT now() NOT NULL,
    actor name DEFAULT SESSION_USER NOT NULL,
    kind text NOT NULL,
    subject text NOT NULL,
    payload jsonb DEFAULT '{}' NOT NULL
);

CREATE INDEX unit_document ON iu.unit (document_id, ordinal);
CREATE INDEX unit_draft ON iu.unit (cut_run_id) WHERE state IN ('draft', 'verified');
CREATE INDEX event_subject ON iu.event (subject, occurred_at);

-- Writers may change single columns of a unit; the time of the change is set by the server.
CREATE FUNCTION iu.touch_unit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;
CREATE TRIGGER touch BEFORE UPDATE ON iu.unit FOR EACH ROW EXECUTE FUNCTION iu.touch_unit();

RESET ROLE;
