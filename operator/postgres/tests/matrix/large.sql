-- Ten thousand tables in twenty schemas, and five roles.
DO $$
BEGIN
  FOR role IN 1..5 LOOP
    EXECUTE format('CREATE ROLE app_%s', role);
  END LOOP;
  FOR space IN 1..20 LOOP
    EXECUTE format('CREATE SCHEMA s%s', space);
    FOR number IN 1..500 LOOP
      EXECUTE format('CREATE TABLE s%s.t%s (id bigint, note text)', space, number);
    END LOOP;
    COMMIT;
  END LOOP;
END
$$
