-- Roles that the database refers to, and those whose rights they have through membership.
-- The bootstrap superuser (10) owns things without any dependency being recorded. Predefined roles
-- exist everywhere and are named as groups only.
WITH RECURSIVE this AS (
  SELECT oid FROM pg_database WHERE datname = current_database()
), reached(oid) AS (
  (SELECT 10::oid
   UNION
   SELECT s.refobjid FROM pg_shdepend s, this
    WHERE s.refclassid = 'pg_authid'::regclass AND (s.dbid = this.oid OR s.dbid = 0 AND s.classid = 'pg_database'::regclass AND s.objid = this.oid)
   UNION
   SELECT s.setrole FROM pg_db_role_setting s, this WHERE s.setdatabase = this.oid AND s.setrole <> 0)
  UNION
  SELECT m.roleid FROM reached r JOIN pg_auth_members m ON m.member = r.oid
)
SELECT r.rolname::text
  FROM reached
  JOIN pg_roles r USING (oid)
 WHERE r.rolname !~ '^pg_'
