-- Hundreds of functions that PUBLIC may execute, half of which run as their owner.
DO $$
BEGIN
  FOR n IN 1..300 LOOP
    EXECUTE format('CREATE FUNCTION public.api_%s() RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_temp AS $f$SELECT$f$', n);
    EXECUTE format('CREATE FUNCTION public.plain_%s() RETURNS void LANGUAGE sql AS $f$SELECT$f$', n);
  END LOOP;
END
$$
