-- What has to be the same before and after.
SET search_path = shop, public;
SELECT class, relation, primary_key, declared, extension FROM orm.models ORDER BY class;
SELECT class, name, target, direction FROM orm.relationships ORDER BY class, name;
SELECT p.oid::regprocedure, prosrc FROM pg_proc p
	WHERE pronamespace IN ('shop'::regnamespace, 'public'::regnamespace)
	ORDER BY p.oid::regprocedure::text;
SELECT objid::regprocedure, refobjid::regclass FROM pg_depend
	WHERE classid = 'pg_proc'::regclass AND deptype = 'a' AND refclassid = 'pg_class'::regclass
	ORDER BY objid::regprocedure::text, refobjid::regclass::text;
SELECT p.label, (p.item).name FROM part p ORDER BY p.id;
SELECT i.name, p.label FROM item i, parts(i) p ORDER BY p.id;
SELECT data FROM item_doc ORDER BY id;
SELECT id, name FROM users ORDER BY id;
SELECT name, pool_size FROM orm.engines;
SELECT name, engine FROM orm.sessionmakers;
