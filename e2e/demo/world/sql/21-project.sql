-- The project's own collections: knowledge documents, the workflows that maintain them, and the context packs made of them.
\set ON_ERROR_STOP on

-- Created by the superuser, as managed services do; its members belong to the extension.
CREATE EXTENSION pg_trgm SCHEMA public;

SET ROLE workflow_admin;

CREATE TABLE languages (
    code character varying(16) NOT NULL,
    name character varying(64) NOT NULL,
    direction character varying(3) DEFAULT 'ltr' NOT NULL
);

CREATE TABLE tags (
    id serial,
    name character varying(64) NOT NULL,
    color character varying(9)
);

CREATE TABLE pages (
    id uuid NOT NULL,
    status character varying(32) DEFAULT 'draft' NOT NULL,
    sort integer,
    slug character varying(128) NOT NULL,
    title character varying(255) NOT NULL,
    body text,
    language character varying(16),
    user_created uuid,
    date_created timestamp with time zone,
    date_updated timestamp with time zone
);

CREATE TABLE knowledge_sources (
    id uuid NOT NULL,
    name character varying(255) NOT NULL,
    kind character varying(32) NOT NULL,
    uri character varying(512) NOT NULL,
    synchronised_at timestamp with time zone
);

CREATE TABLE knowledge_documents (
    id uuid NOT NULL,
    status character varying(32) DEFAULT 'draft' NOT NULL,
    source uuid NOT NULL,
    document_key character varying(128) NOT NULL,
    title character varying(255) NOT NULL,
    language character varying(16),
    body text NOT NULL,
    word_count integer,
    user_created uuid,
    date_created timestamp with time zone,
    date_updated timestamp with time zone,
    CONSTRAINT knowledge_documents_status CHECK (status IN ('draft', 'review', 'published', 'archived'))
);

CREATE TABLE knowledge_documents_tags (
    id serial,
    knowledge_documents_id uuid NOT NULL,
    tags_id integer NOT NULL
);

CREATE TABLE knowledge_chunks (
    id bigserial,
    document uuid NOT NULL,
    ordinal integer NOT NULL,
    body text NOT NULL,
    checksum character(32) NOT NULL,
    metadata jsonb
);

CREATE TABLE workflows (
    id uuid NOT NULL,
    key character varying(64) NOT NULL,
    name character varying(255) NOT NULL,
    status character varying(32) DEFAULT 'active' NOT NULL,
    definition json NOT NULL
);

CREATE TABLE workflow_steps (
    id serial,
    workflow uuid NOT NULL,
    sort integer NOT NULL,
    name character varying(128) NOT NULL,
    kind character varying(32) NOT NULL,
    options json
);

CREATE TABLE workflow_runs (
    id bigserial,
    workflow uuid NOT NULL,
    document uuid,
    status character varying(32) NOT NULL,
    started_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone,
    result json
);

CREATE TABLE workflow_run_steps (
    id bigserial,
    run bigint NOT NULL,
    step integer NOT NULL,
    status character varying(32) NOT NULL,
    duration interval,
    message text
);

CREATE TABLE context_packs (
    id uuid NOT NULL,
    status character varying(32) DEFAULT 'draft' NOT NULL,
    name character varying(255) NOT NULL,
    audience character varying(64) NOT NULL,
    summary text,
    date_published timestamp with time zone
);

CREATE TABLE context_pack_items (
    id bigserial,
    pack uuid NOT NULL,
    document uuid NOT NULL,
    sort integer NOT NULL,
    note text
);

-- Readers see published packs only; the owner and roles with BYPASSRLS see all.
ALTER TABLE context_packs ENABLE ROW LEVEL SECURITY;
CREATE POLICY published_only ON context_packs FOR SELECT TO context_pack_readonly USING (status = 'published');

-- Ends the sessions that have expired. Runs with the owner's privileges, so only roles with a grant may call it (60-grants.sql).
CREATE FUNCTION expire_sessions(moment timestamp with time zone) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH expired AS (DELETE FROM public.directus_sessions WHERE expires < moment RETURNING 1)
    SELECT count(*) FROM expired
$$;

RESET ROLE;
