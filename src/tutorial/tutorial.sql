\echo Use "CREATE EXTENSION pg_orm_tutorial CASCADE" to load this file. \quit

-- The tutorial's models.  This is also the example of how to ship models of
-- one's own as an extension: declare them, create them, and mark the tables
-- and sequences as configuration, so that pg_dump dumps their rows.
--
-- The script's search_path begins with the schema that the extension is
-- installed in, which is where orm.declare and orm.create_all put things.

SELECT orm.declare('Users', 'users',
	columns => ARRAY[
		orm.column('id', 'integer', primary_key => true),
		orm.column('name', 'varchar(32)', index => true, nullable => false),
		orm.column('age', 'integer'),
		orm.column('email', 'varchar(32)', unique_key => true),
		-- evaluated for every row
		orm.column('ctime', 'timestamp', default_sql => 'localtimestamp'),
		orm.column('extra', 'text', nullable => true)],
	constraints => ARRAY['CONSTRAINT uix_id_name UNIQUE (id, name)'],
	indexes => ARRAY['ix_id_name ON (name, email)']);

SELECT orm.declare('Hobby', 'hobby',
	columns => ARRAY[
		orm.column('id', 'integer', primary_key => true),
		orm.column('caption', 'varchar(50)', default_sql => '''篮球''')]);

SELECT orm.declare('Person', 'person',
	columns => ARRAY[
		orm.column('nid', 'integer', primary_key => true),
		orm.column('name', 'varchar(32)', index => true, nullable => true),
		orm.column('hobby_id', 'integer', foreign_key => 'hobby.id')],
	relationships => ARRAY[
		orm.relationship('hobby', 'Hobby', backref => 'pers')]);

SELECT orm.declare('Boy2Girl', 'boy2girl',
	columns => ARRAY[
		orm.column('id', 'integer', primary_key => true,
			autoincrement => true),
		orm.column('girl_id', 'integer', foreign_key => 'girl.id'),
		orm.column('boy_id', 'integer', foreign_key => 'boy.id')]);

SELECT orm.declare('Girl', 'girl',
	columns => ARRAY[
		orm.column('id', 'integer', primary_key => true),
		orm.column('name', 'varchar(64)', unique_key => true,
			nullable => false)]);

SELECT orm.declare('Boy', 'boy',
	columns => ARRAY[
		orm.column('id', 'integer', primary_key => true,
			autoincrement => true),
		orm.column('hostname', 'varchar(64)', unique_key => true,
			nullable => false)],
	relationships => ARRAY[
		orm.relationship('girls', 'Girl', secondary => 'boy2girl',
			backref => 'boys')]);

SELECT orm.create_all();

-- pg_dump dumps the rows and the counters of these (one statement each: two
-- calls in one would change the same catalog row twice)
SELECT pg_catalog.pg_extension_config_dump('users', '');
SELECT pg_catalog.pg_extension_config_dump('users_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('hobby', '');
SELECT pg_catalog.pg_extension_config_dump('hobby_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('person', '');
SELECT pg_catalog.pg_extension_config_dump('person_nid_seq', '');
SELECT pg_catalog.pg_extension_config_dump('boy2girl', '');
SELECT pg_catalog.pg_extension_config_dump('boy2girl_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('girl', '');
SELECT pg_catalog.pg_extension_config_dump('girl_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('boy', '');
SELECT pg_catalog.pg_extension_config_dump('boy_id_seq', '');
