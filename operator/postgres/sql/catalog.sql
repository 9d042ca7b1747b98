-- Every definition of the database as (kind, identity, md5 of the definition). No OID and no attribute number: both differ after a restore.
-- Members of extensions are left out: the extension's version stands for them. Privileges and owners are judged elsewhere.
-- Column options named pg_* are a server's own: some builds stamp every column with one that depends on when it was made, and no dump has it.
-- Run it in a session of session.sql.
WITH ns AS MATERIALIZED (
  SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
), member AS MATERIALIZED (
  SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
), rel AS MATERIALIZED (
  SELECT c.*
    FROM pg_class c
    JOIN ns ON ns.oid = c.relnamespace
   WHERE c.relpersistence <> 't'
     AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid)
)
SELECT 'relation' AS kind, r.oid::regclass::text AS identity,
       md5(concat_ws('|', r.relkind, r.relpersistence, r.relrowsecurity, r.relforcerowsecurity, r.relreplident,
         array_to_string(r.reloptions, ','), (SELECT array_to_string(t.reloptions, ',') FROM pg_class t WHERE t.oid = r.reltoastrelid),
         (SELECT amname FROM pg_am a WHERE a.oid = r.relam AND r.relkind = 'r'),
         CASE WHEN r.reloftype <> 0 THEN r.reloftype::regtype::text END,
         pg_get_partkeydef(r.oid), pg_get_expr(r.relpartbound, r.oid),
         (SELECT string_agg(i.inhparent::regclass::text, ',' ORDER BY i.inhseqno) FROM pg_inherits i WHERE i.inhrelid = r.oid),
         (SELECT string_agg(concat_ws(' ', quote_ident(a.attname), format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'NN' END,
             pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated,
             CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END,
             CASE WHEN a.attstorage <> t.typstorage THEN 'storage ' || a.attstorage::text END, nullif(a.attcompression, ''),
             nullif(to_jsonb(a) ->> 'attstattarget', '-1'),
             (SELECT string_agg(o, ',' ORDER BY o) FROM unnest(a.attoptions) o WHERE o !~ '^pg_'), array_to_string(a.attfdwoptions, ',')),
             ',' ORDER BY a.attnum)
            FROM pg_attribute a
            JOIN pg_type t ON t.oid = a.atttypid
            LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
           WHERE a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped))) AS definition
  FROM rel r WHERE r.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
UNION ALL
-- A row of its own, there or not: a restore of the definitions alone fills none, and must not excuse a copy whose view is empty.
SELECT 'filled matview', r.oid::regclass::text, '' FROM rel r WHERE r.relkind = 'm' AND r.relispopulated
UNION ALL
SELECT 'view', r.oid::regclass::text, md5(pg_get_viewdef(r.oid)) FROM rel r WHERE r.relkind IN ('v', 'm')
UNION ALL
SELECT 'foreign table', f.ftrelid::regclass::text, md5(concat_ws('|', s.srvname, array_to_string(f.ftoptions, ',')))
  FROM pg_foreign_table f JOIN rel r ON r.oid = f.ftrelid JOIN pg_foreign_server s ON s.oid = f.ftserver
UNION ALL
SELECT 'index', i.indexrelid::regclass::text,
       md5(concat_ws('|', pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisprimary, i.indisreplident, i.indisclustered,
         (SELECT string_agg(a.attnum || '=' || (to_jsonb(a) ->> 'attstattarget'), ',' ORDER BY a.attnum)
            FROM pg_attribute a WHERE a.attrelid = i.indexrelid AND nullif(to_jsonb(a) ->> 'attstattarget', '-1') IS NOT NULL)))
  FROM pg_index i JOIN rel r ON r.oid = i.indrelid
UNION ALL
SELECT 'constraint', k.conrelid::regclass::text || '.' || quote_ident(k.conname),
       md5(concat_ws('|', pg_get_constraintdef(k.oid), k.convalidated, k.condeferrable, k.condeferred))
  FROM pg_constraint k JOIN rel r ON r.oid = k.conrelid WHERE k.contype <> 'n'
UNION ALL
SELECT 'trigger', g.tgrelid::regclass::text || '.' || quote_ident(g.tgname), md5(pg_get_triggerdef(g.oid) || g.tgenabled::text)
  FROM pg_trigger g JOIN rel r ON r.oid = g.tgrelid WHERE NOT g.tgisinternal
UNION ALL
SELECT 'rule', w.ev_class::regclass::text || '.' || quote_ident(w.rulename), md5(pg_get_ruledef(w.oid) || w.ev_enabled::text)
  FROM pg_rewrite w JOIN rel r ON r.oid = w.ev_class WHERE w.rulename <> '_RETURN'
UNION ALL
SELECT 'policy', p.polrelid::regclass::text || '.' || quote_ident(p.polname),
       md5(concat_ws('|', p.polpermissive, p.polcmd,
         (SELECT string_agg(CASE o WHEN 0 THEN 'public' ELSE o::regrole::text END, ',' ORDER BY o::regrole::text COLLATE "C") FROM unnest(p.polroles) o),
         pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)))
  FROM pg_policy p JOIN rel r ON r.oid = p.polrelid
UNION ALL
SELECT 'routine', p.oid::regprocedure::text,
       md5(CASE WHEN p.prokind = 'a'
         THEN (SELECT concat_ws('|', a.aggfnoid::regprocedure, a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.agginitval, a.aggsortop) FROM pg_aggregate a WHERE a.aggfnoid = p.oid)
         ELSE pg_get_functiondef(p.oid) END)
  FROM pg_proc p JOIN ns ON ns.oid = p.pronamespace
 WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_proc'::regclass AND m.objid = p.oid)
UNION ALL
SELECT 'type', t.oid::regtype::text,
       md5(concat_ws('|', t.typtype, (SELECT string_agg(quote_literal(e.enumlabel), ',' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid),
         format_type(nullif(t.typbasetype, 0), t.typtypmod), t.typnotnull, t.typdefault,
         CASE WHEN t.typcollation <> 0 THEN t.typcollation::regcollation::text END,
         (SELECT string_agg(conname || pg_get_constraintdef(oid), ',' ORDER BY conname) FROM pg_constraint WHERE contypid = t.oid AND contype <> 'n'),
         (SELECT concat_ws(' ', g.rngsubtype::regtype, g.rngcollation::regcollation, g.rngcanonical, g.rngsubdiff) FROM pg_range g WHERE g.rngtypid = t.oid),
         CASE WHEN t.typtype = 'b' THEN concat_ws(' ', t.typinput, t.typoutput, t.typreceive, t.typsend, t.typlen, t.typbyval, t.typalign, t.typstorage) END))
  FROM pg_type t JOIN ns ON ns.oid = t.typnamespace
 WHERE (t.typtype IN ('e', 'd', 'r') OR t.typtype = 'b' AND t.typelem = 0)
   AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_type'::regclass AND m.objid = t.oid)
UNION ALL
SELECT 'sequence', s.seqrelid::regclass::text,
       md5(concat_ws('|', s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmax, s.seqmin, s.seqcache, s.seqcycle, r.relpersistence,
         (SELECT concat_ws(' ', d.deptype, d.refobjid::regclass, quote_ident(a.attname))
            FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
           WHERE d.classid = 'pg_class'::regclass AND d.objid = s.seqrelid AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i'))))
  FROM pg_sequence s JOIN rel r ON r.oid = s.seqrelid
UNION ALL
SELECT 'extension', quote_ident(e.extname), md5(e.extversion || e.extnamespace::regnamespace::text) FROM pg_extension e
UNION ALL
SELECT 'schema', quote_ident(ns.nspname), '' FROM ns
 WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_namespace'::regclass AND m.objid = ns.oid)
UNION ALL
SELECT 'statistics', x.stxnamespace::regnamespace::text || '.' || quote_ident(x.stxname), md5(pg_get_statisticsobjdef(x.oid))
  FROM pg_statistic_ext x JOIN rel r ON r.oid = x.stxrelid
UNION ALL
SELECT 'collation', c.oid::regcollation::text,
       md5(concat_ws('|', c.collprovider, c.collisdeterministic, c.collencoding, c.collcollate, c.collctype,
         coalesce(to_jsonb(c) ->> 'collicurules', ''), coalesce(to_jsonb(c) ->> 'colliculocale', to_jsonb(c) ->> 'colllocale')))
  FROM pg_collation c JOIN ns ON ns.oid = c.collnamespace
 WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_collation'::regclass AND m.objid = c.oid)
UNION ALL
SELECT 'operator', o.oid::regoperator::text,
       md5(concat_ws('|', o.oprcode, o.oprresult::regtype, o.oprcanmerge, o.oprcanhash, o.oprrest, o.oprjoin,
         nullif(o.oprcom, 0)::regoperator, nullif(o.oprnegate, 0)::regoperator))
  FROM pg_operator o JOIN ns ON ns.oid = o.oprnamespace
 WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_operator'::regclass AND m.objid = o.oid)
UNION ALL
SELECT 'operator class', format('%I.%I using %I', ns.nspname, c.opcname, a.amname),
       md5(concat_ws('|', c.opcintype::regtype, nullif(c.opckeytype, 0)::regtype, c.opcdefault,
         (SELECT string_agg(concat_ws(' ', o.amopstrategy, o.amopopr::regoperator, o.amoppurpose), ',' ORDER BY o.amopstrategy, o.amopopr::regoperator::text COLLATE "C") FROM pg_amop o WHERE o.amopfamily = c.opcfamily),
         (SELECT string_agg(concat_ws(' ', p.amprocnum, p.amproc), ',' ORDER BY p.amprocnum, p.amproc::text COLLATE "C") FROM pg_amproc p WHERE p.amprocfamily = c.opcfamily)))
  FROM pg_opclass c JOIN ns ON ns.oid = c.opcnamespace JOIN pg_am a ON a.oid = c.opcmethod
 WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_opclass'::regclass AND m.objid = c.oid)
UNION ALL
SELECT 'cast', c.castsource::regtype || ' as ' || c.casttarget::regtype, md5(concat_ws('|', nullif(c.castfunc, 0)::regprocedure, c.castcontext, c.castmethod))
  FROM pg_cast c
 WHERE c.oid >= 16384 AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_cast'::regclass AND m.objid = c.oid)
UNION ALL
SELECT 'text search configuration', c.oid::regconfig::text,
       md5(concat_ws('|', c.cfgparser,
         (SELECT string_agg(concat_ws(' ', m.maptokentype, m.mapseqno, m.mapdict::regdictionary), ',' ORDER BY m.maptokentype, m.mapseqno) FROM pg_ts_config_map m WHERE m.mapcfg = c.oid)))
  FROM pg_ts_config c JOIN ns ON ns.oid = c.cfgnamespace
 WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_ts_config'::regclass AND m.objid = c.oid)
UNION ALL
SELECT 'text search dictionary', d.oid::regdictionary::text, md5(concat_ws('|', t.tmplname, d.dictinitoption))
  FROM pg_ts_dict d JOIN ns ON ns.oid = d.dictnamespace JOIN pg_ts_template t ON t.oid = d.dicttemplate
 WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_ts_dict'::regclass AND m.objid = d.oid)
UNION ALL
SELECT 'foreign data wrapper', quote_ident(w.fdwname), md5(concat_ws('|', nullif(w.fdwhandler, 0)::regprocedure, nullif(w.fdwvalidator, 0)::regprocedure, array_to_string(w.fdwoptions, ',')))
  FROM pg_foreign_data_wrapper w
 WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_foreign_data_wrapper'::regclass AND m.objid = w.oid)
UNION ALL
SELECT 'foreign server', quote_ident(s.srvname), md5(concat_ws('|', w.fdwname, s.srvtype, s.srvversion, array_to_string(s.srvoptions, ',')))
  FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw
UNION ALL
SELECT 'event trigger', quote_ident(e.evtname), md5(concat_ws('|', e.evtevent, e.evtenabled, e.evtfoid::regprocedure, array_to_string(e.evttags, ',')))
  FROM pg_event_trigger e
 WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_event_trigger'::regclass AND m.objid = e.oid)
UNION ALL
SELECT 'language', quote_ident(l.lanname), md5(concat_ws('|', l.lanpltrusted, nullif(l.lanplcallfoid, 0)::regprocedure, nullif(l.laninline, 0)::regprocedure))
  FROM pg_language l
 WHERE l.oid >= 16384 AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_language'::regclass AND m.objid = l.oid)
UNION ALL
SELECT 'transform', x.trftype::regtype || ' for ' || l.lanname, md5(concat_ws('|', nullif(x.trffromsql, 0)::regprocedure, nullif(x.trftosql, 0)::regprocedure))
  FROM pg_transform x JOIN pg_language l ON l.oid = x.trflang
 WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_transform'::regclass AND m.objid = x.oid)
UNION ALL
SELECT 'comment', concat_ws(' ', i.type, i.identity), md5(d.description)
  FROM pg_description d, pg_identify_object(d.classoid, d.objoid, d.objsubid) i
 WHERE d.objoid >= 16384
   AND NOT EXISTS (SELECT FROM member m WHERE m.classid = d.classoid AND m.objid = d.objoid)
   AND d.classoid NOT IN ('pg_extension'::regclass)
   AND coalesce(i.schema, '') !~ '^pg_'
UNION ALL
SELECT 'setting', coalesce(quote_ident(r.rolname), 'database'), md5(string_agg(c, ',' ORDER BY c COLLATE "C"))
  FROM pg_db_role_setting s
  JOIN pg_database d ON d.oid = s.setdatabase AND d.datname = current_database()
  LEFT JOIN pg_roles r ON r.oid = s.setrole
  CROSS JOIN LATERAL unnest(s.setconfig) c
 GROUP BY r.rolname
