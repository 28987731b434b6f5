-- ---------------------------------------------------------------------------
-- engine: limits on sessions, over all backends of the database.
--
-- Everybody may read the settings and the state.  Who may EXECUTE the
-- functions that change the settings may change them; in the beginning that
-- is the owner of the database.
-- ---------------------------------------------------------------------------

CREATE TABLE orm.engine_def (
	name			text COLLATE "C" PRIMARY KEY CHECK (name <> ''),
	-- names the engine's slots among the server's locks
	id				oid NOT NULL UNIQUE,
	pool_size		integer NOT NULL CHECK (pool_size >= 0),
	max_overflow	integer NOT NULL CHECK (max_overflow >= -1),
	pool_timeout	double precision NOT NULL CHECK (pool_timeout >= 0),
	pool_recycle	integer NOT NULL CHECK (pool_recycle >= -1),
	CHECK (pool_size::bigint + max_overflow <= 65535)
);
COMMENT ON TABLE orm.engine_def IS
'The engines, one row each. Written by orm.create_engine and orm.drop_engine,
never directly; orm.engines is the view to read.';

CREATE TABLE orm.sessionmaker_def (
	name			text COLLATE "C" PRIMARY KEY CHECK (name <> ''),
	-- no foreign key: pg_restore -j loads the config tables in any order
	engine			text COLLATE "C" NOT NULL,
	-- NULL: as orm.autoflush and orm.expire_on_commit say
	autoflush		boolean,
	expire_on_commit	boolean
);
COMMENT ON TABLE orm.sessionmaker_def IS
'The sessionmakers, one row each. Written by orm.sessionmaker and
orm.drop_sessionmaker, never directly; orm.sessionmakers is the view to read.';

SELECT pg_catalog.pg_extension_config_dump('orm.engine_def', '');
SELECT pg_catalog.pg_extension_config_dump('orm.sessionmaker_def', '');

CREATE FUNCTION orm.engines_changed() RETURNS trigger
	AS 'MODULE_PATHNAME', 'orm_engines_changed' LANGUAGE C;
COMMENT ON FUNCTION orm.engines_changed() IS
'Trigger of the config tables of engines: makes all backends read them anew.
Not to be called.';

CREATE TRIGGER invalidate AFTER INSERT OR UPDATE OR DELETE
	ON orm.engine_def FOR EACH ROW EXECUTE FUNCTION orm.engines_changed();
CREATE TRIGGER invalidate AFTER INSERT OR UPDATE OR DELETE
	ON orm.sessionmaker_def FOR EACH ROW
	EXECUTE FUNCTION orm.engines_changed();

CREATE FUNCTION orm.create_engine(name text, pool_size integer DEFAULT 5,
		max_overflow integer DEFAULT 0,
		pool_timeout double precision DEFAULT 30,
		pool_recycle integer DEFAULT -1)
	RETURNS void
	AS 'MODULE_PATHNAME', 'orm_create_engine'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.create_engine(text, integer, integer, double precision, integer) IS
'Makes an engine, a limit on how many sessions of its sessionmakers have a
transaction open at once, over all connections of the database; or changes the
settings of the engine that has the name. Slots that are in use stay in use.
pool_size: how many sessions, 0 for no limit. max_overflow: how many more, -1
for no limit. pool_timeout: how many seconds a session waits for a slot, 0 for
not at all. pool_recycle: the age in seconds at which a connection should be
replaced, -1 for never; nothing in the server can do that, it is for the pooler
(PgBouncer''s server_lifetime), and orm.engine_status() shows the oldest.
Errors: 22023 a value out of range, 22004 a NULL, 42501 without EXECUTE, which
the owner of the database has.
Example: SELECT orm.create_engine(''test1'', pool_size => 5, max_overflow => 0);';

CREATE FUNCTION orm.drop_engine(name text) RETURNS void
	AS 'MODULE_PATHNAME', 'orm_drop_engine'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.drop_engine(text) IS
'Drops an engine. Sessions that wait for a slot of it go on without one.
Errors: 42704 no such engine, 2BP01 it has sessionmakers, 42501 without EXECUTE,
which the owner of the database has.
Example: SELECT orm.drop_engine(''test1'');';

CREATE FUNCTION orm.sessionmaker(name text, engine text,
		autoflush boolean DEFAULT NULL,
		expire_on_commit boolean DEFAULT NULL)
	RETURNS void
	AS 'MODULE_PATHNAME', 'orm_sessionmaker'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.sessionmaker(text, text, boolean, boolean) IS
'Makes a sessionmaker, or changes the one that has the name. Sessions of that
name, and those whose name begins with it and a slash, are of that maker: each
holds a slot of the engine while its transaction is open.
autoflush, expire_on_commit: for these sessions instead of the settings
orm.autoflush and orm.expire_on_commit; NULL leaves it to those.
Errors: 42704 no such engine, 22023 not a session''s name (at most 48 bytes, no
dot), 22004 a NULL, 42501 without EXECUTE, which the owner of the database has.
Example: SELECT orm.sessionmaker(''web'', engine => ''test1'');';

CREATE FUNCTION orm.drop_sessionmaker(name text) RETURNS void
	AS 'MODULE_PATHNAME', 'orm_drop_sessionmaker'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.drop_sessionmaker(text) IS
'Drops a sessionmaker. Sessions of it keep what they have until their
transaction ends.
Errors: 42704 no such sessionmaker, 42501 without EXECUTE, which the owner of
the database has.
Example: SELECT orm.drop_sessionmaker(''web'');';

REVOKE EXECUTE ON FUNCTION
	orm.create_engine(text, integer, integer, double precision, integer),
	orm.drop_engine(text),
	orm.sessionmaker(text, text, boolean, boolean),
	orm.drop_sessionmaker(text)
	FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	orm.create_engine(text, integer, integer, double precision, integer),
	orm.drop_engine(text),
	orm.sessionmaker(text, text, boolean, boolean),
	orm.drop_sessionmaker(text)
	TO pg_database_owner;

CREATE VIEW orm.engines AS
SELECT d.name, d.pool_size, d.max_overflow, d.pool_timeout, d.pool_recycle
FROM orm.engine_def d;
COMMENT ON VIEW orm.engines IS
'The engines and their settings.
Example: SELECT * FROM orm.engines;';

CREATE VIEW orm.sessionmakers AS
SELECT d.name, d.engine, d.autoflush, d.expire_on_commit
FROM orm.sessionmaker_def d;
COMMENT ON VIEW orm.sessionmakers IS
'The sessionmakers, their engines and settings.
Example: SELECT * FROM orm.sessionmakers;';

GRANT SELECT ON orm.engine_def, orm.sessionmaker_def, orm.engines,
	orm.sessionmakers TO PUBLIC;

-- Slot 0 is shared by those who wait.
CREATE FUNCTION orm.engine_status(OUT engine text, OUT size integer,
		OUT in_use integer, OUT overflow integer, OUT waiting integer,
		OUT oldest interval)
	RETURNS SETOF record LANGUAGE sql VOLATILE PARALLEL RESTRICTED ROWS 10
BEGIN ATOMIC
	SELECT d.name, d.pool_size, coalesce(s.in_use, 0)::integer,
		   CASE WHEN d.pool_size > 0
				THEN greatest(s.in_use - d.pool_size, 0) ELSE 0 END::integer,
		   coalesce(s.waiting, 0)::integer, s.oldest
	FROM orm.engine_def d
		 LEFT JOIN (
			SELECT l.objid,
				   count(*) FILTER (WHERE l.objsubid > 0) AS in_use,
				   count(*) FILTER (WHERE l.objsubid = 0) AS waiting,
				   clock_timestamp() - min(a.backend_start)
					   FILTER (WHERE l.objsubid > 0) AS oldest
			FROM pg_locks l
				 LEFT JOIN pg_stat_activity a ON a.pid = l.pid
			WHERE l.locktype = 'object' AND l.granted
			  AND l.database = (SELECT b.oid FROM pg_database b
								WHERE b.datname = current_database())
			  AND l.classid = 'orm.engine_def'::regclass
			GROUP BY l.objid) s ON s.objid = d.id
	ORDER BY d.name;
END;
COMMENT ON FUNCTION orm.engine_status() IS
'What the engines are doing: size (the pool_size), how many slots are in use, how
many of those are overflow, how many sessions are waiting for one, and the age of
the oldest connection that holds one (of other roles'' connections only for who
may see them: pg_read_all_stats).
Example: SELECT * FROM orm.engine_status();';
