\set ECHO none
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_orm_models;
DROP ROLE IF EXISTS regress_orm_models_user, regress_orm_models_other;
CREATE ROLE regress_orm_models_user;
CREATE ROLE regress_orm_models_other;
CREATE DATABASE regress_orm_models OWNER regress_orm_models_user
	TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
ALTER DATABASE regress_orm_models SET lc_messages TO 'C';
\c regress_orm_models
SET client_min_messages = warning;
CREATE EXTENSION pg_orm;
CREATE SCHEMA app AUTHORIZATION regress_orm_models_user;
GRANT CREATE ON SCHEMA public TO regress_orm_models_user;
RESET client_min_messages;
\set ECHO all
--
-- Declared models: orm.declare, orm.create_all, orm.drop_all
--
SET SESSION AUTHORIZATION regress_orm_models_user;
SET search_path = app;

-- every column option, constraints and indexes
SELECT orm.declare('Users', 'users',
	columns => ARRAY[
		orm.column('id', 'integer', primary_key => true),
		orm.column('name', 'varchar(32)', index => true, nullable => false),
		orm.column('age', 'integer'),
		orm.column('email', 'varchar(32)', unique_key => true),
		orm.column('nick', 'text', unique_key => true, index => true),
		orm.column('ctime', 'timestamp', default_sql => 'localtimestamp'),
		orm.column('shout', 'text', generated => 'upper(name) -- loud'),
		orm.column('extra', 'text', nullable => true)],
	constraints => ARRAY['CONSTRAINT uix_id_name UNIQUE (id, name)',
		'CHECK (age >= 0) -- nobody is younger'],
	indexes => ARRAY['ix_id_name ON (name, email)',
		'UNIQUE "Ix Age" ON (age) WHERE age > 100 -- old',
		'ON USING hash (extra)']);
-- its relationships may lead to what is declared later
SELECT orm.declare('Person', 'person',
	ARRAY[orm.column('nid', 'integer', primary_key => true),
		orm.column('hobby_id', 'integer', foreign_key => 'hobby.id',
			ondelete => 'set null', onupdate => 'CASCADE')],
	relationships => ARRAY[
		orm.relationship('hobby', 'Hobby', backref => 'pers')]);
SELECT orm.declare('Hobby', 'hobby',
	ARRAY[orm.column('id', 'integer', primary_key => true),
		orm.column('caption', 'varchar(50)', default_sql => $$'篮球'$$)]);

-- declared, but not there
SELECT class, relation, schema, tablename, declared, owner FROM orm.models
	ORDER BY class;
SELECT class, name, target, direction FROM orm.relationships ORDER BY 1, 2;
SELECT orm.relate('Person', 'other', 'Hobby');

SELECT * FROM orm.create_all();
-- once is enough
SELECT * FROM orm.create_all();
\set VERBOSITY sqlstate
SELECT * FROM orm.create_all(checkfirst => false);
\set VERBOSITY default
SELECT class, relation, primary_key FROM orm.models ORDER BY class;
SELECT class, name, target, direction, local_columns, remote_columns, reverse
	FROM orm.relationships ORDER BY 1, 2;
\d users
\d person
\d hobby
INSERT INTO hobby DEFAULT VALUES RETURNING *;
INSERT INTO users (name) VALUES ('lqz') RETURNING id, name, shout, ctime IS NOT NULL AS has_ctime;

-- dropping keeps the declarations
SELECT * FROM orm.drop_all();
SELECT * FROM orm.drop_all();
\set VERBOSITY sqlstate
SELECT * FROM orm.drop_all(checkfirst => false);
\set VERBOSITY default
SELECT class, relation, primary_key FROM orm.models ORDER BY class;
SELECT class, name, target, direction FROM orm.relationships ORDER BY 1, 2;
SELECT * FROM orm.create_all();
SELECT class, name, direction FROM orm.relationships ORDER BY 1, 2;

-- something else depends on a table: nothing is dropped
CREATE VIEW names AS SELECT name FROM users;
SELECT * FROM orm.drop_all();
SELECT count(relation) FROM orm.models;
DROP VIEW names;

-- a table dropped by hand is forgotten, and the relationships to it
DROP TABLE hobby CASCADE;
SELECT class FROM orm.models ORDER BY class;
SELECT * FROM orm.relationships;
SELECT * FROM orm.drop_all();
SELECT orm.unmap('Person'), orm.unmap('Users');
SELECT * FROM orm.models;

-- keys: composite, by a constraint, not integer, a foreign key, switched off
SELECT orm.declare('K1', 'k1', ARRAY[
	orm.column('a', 'integer', primary_key => true),
	orm.column('b', 'text', primary_key => true)]);
SELECT orm.declare('K2', 'k2', ARRAY[orm.column('a', 'bigint')],
	ARRAY['PRIMARY KEY (a)']);
SELECT orm.declare('K3', 'k3', ARRAY[
	orm.column('a', 'uuid', primary_key => true,
		default_sql => 'gen_random_uuid()')]);
SELECT orm.declare('K4', 'k4', ARRAY[
	orm.column('a', 'bigint', primary_key => true, foreign_key => 'k2.a')]);
SELECT orm.declare('K5', 'k5', ARRAY[
	orm.column('a', 'integer', primary_key => true, autoincrement => false)]);
SELECT orm.declare('K6', 'k6', ARRAY[
	orm.column('a', 'text', primary_key => true),
	orm.column('n', 'smallint', autoincrement => true)]);
SELECT * FROM orm.create_all();
SELECT attrelid::regclass, attname, attidentity, attnotnull
	FROM pg_attribute
	WHERE attrelid IN (SELECT relation FROM orm.models) AND attnum > 0
	ORDER BY attrelid::regclass::text, attnum;
SELECT * FROM orm.drop_all();
SELECT orm.unmap(class) FROM orm.models;

-- cycles, and a foreign key to the table itself
SELECT orm.declare('A', 'a', ARRAY[
	orm.column('id', 'int', true), orm.column('b', 'int', foreign_key => 'b.id')]);
SELECT orm.declare('B', 'b', ARRAY[
	orm.column('id', 'int', true), orm.column('c', 'int')],
	constraints => ARRAY['FOREIGN KEY (c) REFERENCES c -- the next one']);
SELECT orm.declare('C', 'c', ARRAY[
	orm.column('id', 'int', true), orm.column('a', 'int', foreign_key => 'app.a.id'),
	orm.column('up', 'int', foreign_key => 'c.id')],
	relationships => ARRAY[orm.relationship('up_c', 'C', 'down',
		foreign_keys => '{up}', remote_side => '{id}')]);
SELECT * FROM orm.create_all();
SELECT conrelid::regclass, pg_get_constraintdef(oid) FROM pg_constraint
	WHERE contype = 'f' AND connamespace = 'app'::regnamespace
	ORDER BY 1, 2;
SELECT class, name, direction FROM orm.relationships ORDER BY 1, 2;
SELECT * FROM orm.drop_all();
SELECT orm.unmap(class) FROM orm.models;

-- names that need quotes
SELECT orm.declare('Größe "x"', 'Größe "t"', ARRAY[
	orm.column('Id', 'int', true), orm.column('Ober "k"', 'int',
		foreign_key => '"Größe ""t""".Id', index => true)],
	constraints => ARRAY['CHECK ("Ober ""k""" > 0)'],
	relationships => ARRAY[orm.relationship('Ober', 'Größe "x"',
		backref => 'Unter "k"', remote_side => '{Id}')]);
SELECT * FROM orm.create_all();
SELECT pg_get_indexdef(indexrelid) FROM pg_index
	WHERE indrelid = 'app."Größe ""t"""'::regclass ORDER BY 1;
INSERT INTO "Größe ""t""" VALUES (1, NULL), (2, 1);
SELECT g."Id", (g."Ober")."Id" AS ober FROM "Größe ""t""" g ORDER BY 1;
SELECT g."Id", u."Id" AS unter FROM "Größe ""t""" g, "Unter ""k"""(g) u;
SELECT * FROM orm.drop_all();
SELECT orm.unmap('Größe "x"');

-- a table that exists is taken as it is
CREATE TABLE there (id int PRIMARY KEY, more text);
CREATE TABLE keyless (id int);
SELECT orm.declare('There', 'there', ARRAY[orm.column('id', 'int', true)],
	version_column => 'id');
SELECT class, relation, version_column FROM orm.models;
SELECT orm.unmap('There');
SELECT orm.declare('There', 'there', ARRAY[orm.column('id', 'int', true),
	orm.column('missing', 'int')]);
SELECT orm.declare('Keyless', 'keyless', ARRAY[orm.column('id', 'int', true)]);
DROP TABLE there, keyless;

-- the search_path says where, unless the call does
SELECT orm.declare('P', 'p', ARRAY[orm.column('id', 'int', true)],
	schema => 'public');
SELECT * FROM orm.create_all();
SELECT * FROM orm.create_all('public');
SELECT * FROM orm.drop_all('public');
SELECT orm.unmap('P');
SET search_path = nowhere;
SELECT orm.declare('P', 'p', ARRAY[orm.column('id', 'int', true)]);
SELECT * FROM orm.create_all();
SELECT * FROM orm.create_all('nowhere');
SET search_path = app;

--
-- Wrong input shows when it is declared
--
CREATE FUNCTION declare_a(column_arg orm.column_arg, constraints text[] = NULL,
	indexes text[] = NULL, relationships orm.relationship_arg[] = NULL)
	RETURNS void LANGUAGE sql AS $$
	SELECT orm.declare('A', 'a', ARRAY[orm.column('id', 'int', true), $1],
		$2, $3, $4);
$$;
-- what a statement raises
CREATE FUNCTION try(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	state text; message text; detail text; hint text; context text;
BEGIN
	EXECUTE statement;
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE,
		message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
		hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(E'\n  ', state || ': ' || message, nullif(detail, ''),
		nullif(hint, ''));
END $$;
\pset format unaligned
\pset tuples_only on

-- types
SELECT try($try$SELECT declare_a(orm.column('c', 'String(32)'))$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'DateTime'))$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'Integer'))$try$);
SELECT orm.unmap('A');
SELECT try($try$SELECT declare_a(orm.column('c', 'BigInteger'))$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'serial'))$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'no_such_type'))$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int; DROP TABLE x'))$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int NOT NULL'))$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'anyelement'))$try$);
SELECT try($try$SELECT declare_a(orm.column('c', NULL))$try$);
-- columns
SELECT try($try$SELECT declare_a(orm.column('id', 'int'))$try$);
SELECT try($try$SELECT declare_a(orm.column('ctid', 'int'))$try$);
SELECT try($try$SELECT declare_a(orm.column('', 'int'))$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int', true, nullable => true))$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'text', autoincrement => true))$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int', default_sql => '1', generated => '2'))$try$);
SELECT try($try$SELECT declare_a(NULL)$try$);
-- defaults
SELECT try($try$SELECT declare_a(orm.column('c', 'text', default_sql => '篮球'))$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'text', default_sql => 'two words'))$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int', default_sql => '''x'''))$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int', default_sql => 'now()'))$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int', default_sql => '1, 2'))$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int', default_sql => '1) NOT NULL, (2'))$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int', default_sql => '1 FROM x'))$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int', default_sql => '1; SELECT 2'))$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int', default_sql => '1 +'))$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int', default_sql => '(SELECT 1)'))$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int', default_sql => 'no_such_function()'))$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int', generated => 'idd + 1'))$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int', generated => 'id + random()::int'))$try$);
-- foreign keys
SELECT try($try$SELECT declare_a(orm.column('c', 'int', foreign_key => 'hobby'))$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int', foreign_key => 'a.id', ondelete => 'cascad'))$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int', ondelete => 'cascade'))$try$);
-- constraints
SELECT try($try$SELECT declare_a(orm.column('c', 'int'), '{UNIQUE (d)}')$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int'), '{CHECK (d > 0)}')$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int'), '{CHECK (c)}')$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int'), '{PRIMARY KEY (c)}')$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int'), '{FOREIGN KEY (d) REFERENCES a}')$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int'), '{d int}')$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int'), '{LIKE users}')$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int'), '{UNIQUE (c)) WITH (fillfactor = 10}')$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int'), '{CHECK (true)); DROP TABLE x; CREATE TABLE y (CHECK (true)}')$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int'), ARRAY['UNIQUE (c), CHECK (true)'])$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int'), ARRAY[NULL])$try$);
-- indexes
SELECT try($try$SELECT declare_a(orm.column('c', 'int'), NULL, '{ix ON (d)}')$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int'), NULL, '{ix ON (c) WHERE d > 0}')$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int'), NULL, '{ix ON a (c)}')$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int'), NULL, '{ix (c)}')$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int'), NULL, '{ix ON (c); DROP TABLE x}')$try$);
-- relationships
SELECT try($try$SELECT declare_a(orm.column('c', 'int'), NULL, NULL, ARRAY[orm.relationship('c', 'A')])$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int'), NULL, NULL, ARRAY[orm.relationship('r', 'A', cascade => 'delete-orphans')])$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int'), NULL, NULL, ARRAY[orm.relationship('r', 'A', order_by => 'c, )')])$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int'), NULL, NULL, ARRAY[orm.relationship('r', 'A', order_by => 'c LIMIT 1')])$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int'), NULL, NULL, ARRAY[orm.relationship('r', NULL)])$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int'), NULL, NULL, ARRAY[orm.relationship('r', 'A'), orm.relationship('r', 'A')])$try$);
-- the class
SELECT try($try$SELECT orm.declare('A', 'a', '{}')$try$);
SELECT try($try$SELECT orm.declare('A', 'a', ARRAY[orm.column('c', 'int')])$try$);
SELECT try($try$SELECT orm.declare(NULL, 'a', ARRAY[orm.column('c', 'int', true)])$try$);
SELECT try($try$SELECT orm.declare('', 'a', ARRAY[orm.column('c', 'int', true)])$try$);
SELECT try($try$SELECT orm.declare('A', 'a', ARRAY[orm.column('c', 'int', true)], version_column => 'd')$try$);
SELECT try($try$SELECT orm.declare('A', 'a', ARRAY[orm.column('c', 'int', true), orm.column('v', 'text')], version_column => 'v')$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int'))$try$);
SELECT try($try$SELECT declare_a(orm.column('c', 'int'))$try$);
SELECT try($try$SELECT orm.declare('B', 'a', ARRAY[orm.column('c', 'int', true)])$try$);
SELECT orm.unmap('A');

-- and the rest when the tables are made: nothing is half done
SELECT try($try$SELECT declare_a(orm.column('c', 'int', foreign_key => 'Hobby.id'))$try$);
SELECT try($try$SELECT orm.declare('Hobby', 'hobby', ARRAY[orm.column('id', 'int', true)])$try$);
SELECT try($try$SELECT * FROM orm.create_all()$try$);
SELECT orm.unmap('A');
SELECT try($try$SELECT declare_a(orm.column('c', 'int', foreign_key => 'hoby.id'))$try$);
SELECT try($try$SELECT * FROM orm.create_all()$try$);
SELECT orm.unmap('A');
SELECT try($try$SELECT declare_a(orm.column('c', 'int', foreign_key => 'hobby.idd'))$try$);
SELECT try($try$SELECT * FROM orm.create_all()$try$);
SELECT orm.unmap('A');
SELECT try($try$SELECT declare_a(orm.column('c', 'int', foreign_key => 'hobby.id'), relationships => ARRAY[orm.relationship('r', 'Hoby')])$try$);
SELECT try($try$SELECT * FROM orm.create_all()$try$);
SELECT orm.unmap('A');
SELECT try($try$SELECT declare_a(orm.column('c', 'int'), relationships => ARRAY[orm.relationship('r', 'Hobby')])$try$);
SELECT try($try$SELECT * FROM orm.create_all()$try$);
SELECT orm.unmap('A');
SELECT try($try$SELECT declare_a(orm.column('c', 'int'), relationships => ARRAY[orm.relationship('r', 'Hobby', secondary => 'missing')])$try$);
SELECT try($try$SELECT * FROM orm.create_all()$try$);
SELECT orm.unmap('A');
SELECT class, relation FROM orm.models;
SELECT to_regclass('hobby');

RESET SESSION AUTHORIZATION;
\c contrib_regression
DROP DATABASE regress_orm_models;
DROP ROLE regress_orm_models_user, regress_orm_models_other;
