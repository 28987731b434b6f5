-- ---------------------------------------------------------------------------
-- model/catalog: the config tables, the single source of truth about what is
-- mapped, and the views to read them.
--
-- Everybody may read them.  Nobody writes them directly: the functions check
-- that the caller owns the table that is meant, and then write as the owner
-- of the config tables.
-- ---------------------------------------------------------------------------

-- One row per class.
CREATE TABLE orm.model_def (
	class			text COLLATE "C" PRIMARY KEY CHECK (class <> ''),
	-- the table; NULL while a declared table does not exist.  A regclass is
	-- dumped as a name, survives renames, and is allowed by pg_upgrade.
	relation		regclass UNIQUE,
	-- where the declaration puts the table; what is true of a table that
	-- exists is in pg_class
	schema_name		name NOT NULL,
	table_name		name NOT NULL,
	-- who may make the table; of a table that exists, pg_class knows.  A
	-- name, not a regrole, so that a dump can be restored without the role.
	owner			name NOT NULL,
	version_column	name,
	-- the key's columns: the only source for relations that cannot have a
	-- primary key, and what a restore uses before it has made the constraints
	primary_key		name[],
	-- columns, constraints and indexes of orm.declare, for orm.create_all;
	-- NULL for a mapped table
	declaration		jsonb,
	-- the extension that ships the model
	extension		name,
	CHECK (relation IS NOT NULL OR declaration IS NOT NULL)
);

-- One row per declared relationship; its backref is the same row seen from
-- the other side.
CREATE TABLE orm.relationship_def (
	-- no foreign key: pg_restore -j loads the config tables in any order
	class			text COLLATE "C" NOT NULL,
	name			text COLLATE "C" NOT NULL CHECK (name <> ''),
	-- a class; as written (perhaps a table's name) until it is bound
	target			text COLLATE "C" NOT NULL,
	backref			text COLLATE "C" CHECK (backref <> ''),
	-- as declared
	secondary		text,
	foreign_keys	text[],
	remote_side		text[],
	order_by		text,
	cascade			text,
	passive_deletes	boolean NOT NULL,
	viewonly		boolean NOT NULL,
	uselist			boolean,
	-- bound: NULL until both tables exist.  The columns by name, since a
	-- restore may number them anew; local_columns[i] equals
	-- remote_columns[i] or, through a secondary table, secondary_local[i],
	-- and secondary_remote[i] equals remote_columns[i].  The constraints'
	-- names find the columns again should a rename have been missed.
	direction		text CHECK (direction IN ('many-to-one', 'one-to-many',
											  'many-to-many')),
	constraint_name	name,
	local_columns	name[],
	remote_columns	name[],
	secondary_relation	regclass,
	secondary_local	name[],
	secondary_remote	name[],
	secondary_constraint	name,
	-- the extension whose script declared the relationship
	extension		name,
	PRIMARY KEY (class, name)
);
CREATE INDEX relationship_def_target_idx ON orm.relationship_def (target);

-- What an extension ships is made again by its script; a row whose table is
-- gone must not be dumped, since its regclass would be written as a number.
SELECT pg_catalog.pg_extension_config_dump('orm.model_def', $$
	WHERE extension IS NULL
	  AND (relation IS NULL
		   OR EXISTS (SELECT FROM pg_catalog.pg_class c
					  WHERE c.oid = relation))$$);
SELECT pg_catalog.pg_extension_config_dump('orm.relationship_def', $$
	WHERE extension IS NULL
	  AND EXISTS (SELECT FROM orm.model_def m
				  WHERE m.class = relationship_def.class
					AND (m.relation IS NULL
						 OR EXISTS (SELECT FROM pg_catalog.pg_class c
									WHERE c.oid = m.relation)))
	  AND (secondary_relation IS NULL
		   OR EXISTS (SELECT FROM pg_catalog.pg_class c
					  WHERE c.oid = secondary_relation))$$);

GRANT SELECT ON orm.model_def, orm.relationship_def TO PUBLIC;

COMMENT ON TABLE orm.model_def IS
'The classes, one row each. Written by orm.declare, orm.map, orm.automap,
orm.create_all, orm.drop_all and orm.unmap, never directly; orm.models is the
view to read.';
COMMENT ON TABLE orm.relationship_def IS
'The relationships, one row each with its backref. Written by orm.declare and
orm.relate, never directly; orm.relationships is the view to read.';

-- Tells every backend's cache.  The name sorts before that of other row
-- triggers, so that those see the new state.
CREATE FUNCTION orm.catalog_changed() RETURNS trigger
	AS 'MODULE_PATHNAME', 'orm_catalog_changed' LANGUAGE C;
COMMENT ON FUNCTION orm.catalog_changed() IS
'Row trigger of the config tables: makes all backends read the models anew,
and refuses a row whose table does not exist (42P01). Not to be called.';

CREATE TRIGGER invalidate AFTER INSERT OR UPDATE OR DELETE
	ON orm.model_def FOR EACH ROW EXECUTE FUNCTION orm.catalog_changed();
CREATE TRIGGER invalidate AFTER INSERT OR UPDATE OR DELETE
	ON orm.relationship_def FOR EACH ROW
	EXECUTE FUNCTION orm.catalog_changed();

CREATE VIEW orm.models AS
SELECT m.class,
	   m.relation,
	   coalesce(n.nspname, m.schema_name) AS schema,
	   coalesce(c.relname, m.table_name) AS tablename,
	   m.declaration IS NOT NULL AS declared,
	   coalesce((SELECT pg_catalog.array_agg(a.attname ORDER BY k.n)
				 FROM pg_catalog.pg_constraint p,
					  pg_catalog.unnest(p.conkey) WITH ORDINALITY k (attnum, n),
					  pg_catalog.pg_attribute a
				 WHERE p.conrelid = m.relation AND p.contype = 'p'
				   AND a.attrelid = p.conrelid AND a.attnum = k.attnum),
				m.primary_key) AS primary_key,
	   m.version_column,
	   coalesce(pg_catalog.pg_get_userbyid(c.relowner), m.owner) AS owner,
	   m.extension
FROM orm.model_def m
	 LEFT JOIN pg_catalog.pg_class c ON c.oid = m.relation
	 LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE m.relation IS NULL OR c.oid IS NOT NULL;
GRANT SELECT ON orm.models TO PUBLIC;
COMMENT ON VIEW orm.models IS
'The mapped classes: class, relation (NULL while a declared table does not
exist), schema and tablename, declared (by orm.declare, so that orm.create_all
and orm.drop_all make and drop it), primary_key, version_column, owner, and
the extension that ships the class.
Example: SELECT class, relation, primary_key FROM orm.models ORDER BY class;';

CREATE VIEW orm.relationships AS
WITH direction AS (
	SELECT r.class, r.name, r.target, r.backref AS reverse, false AS is_backref,
		   r.direction,
		   CASE WHEN r.direction = 'many-to-one' THEN false
				ELSE coalesce(r.uselist, true) END AS uselist,
		   r.local_columns, r.remote_columns, r.secondary_relation AS secondary,
		   r.order_by,
		   coalesce(r.cascade, CASE WHEN r.viewonly THEN 'merge'
								ELSE 'save-update, merge' END) AS cascade,
		   r.passive_deletes, r.viewonly, r.extension
	FROM orm.relationship_def r
	UNION ALL
	SELECT r.target, r.backref, r.class, r.name, true,
		   CASE r.direction WHEN 'many-to-one' THEN 'one-to-many'
							WHEN 'one-to-many' THEN 'many-to-one'
							ELSE r.direction END,
		   CASE r.direction WHEN 'one-to-many' THEN false
							WHEN 'many-to-one' THEN coalesce(r.uselist, true)
							ELSE true END,
		   r.remote_columns, r.local_columns, r.secondary_relation,
		   NULL,
		   CASE WHEN r.viewonly THEN 'merge' ELSE 'save-update, merge' END,
		   false, r.viewonly, r.extension
	FROM orm.relationship_def r
	WHERE r.backref IS NOT NULL
)
SELECT d.class, d.name, d.target, d.direction, d.uselist,
	   d.local_columns, d.remote_columns, d.secondary,
	   d.reverse, d.is_backref, d.order_by, d.cascade, d.passive_deletes,
	   d.viewonly,
	   EXISTS (SELECT FROM orm.model_def m
			   JOIN pg_catalog.pg_attribute a ON a.attrelid = m.relation
			   WHERE m.class = d.class AND a.attname = d.name
				 AND NOT a.attisdropped) AS shadowed,
	   d.extension
FROM direction d;
GRANT SELECT ON orm.relationships TO PUBLIC;
COMMENT ON VIEW orm.relationships IS
'The relationships, one row per direction: class and name, the target class,
direction and uselist (a collection?), the columns that pair up by position,
the secondary table of a many-to-many, reverse (the other direction''s name),
is_backref, order_by, cascade, passive_deletes, viewonly, shadowed (a column
of that name was added later and hides the navigation in attribute notation),
and the extension that ships it. direction is NULL while a declared table
does not exist.
Example: SELECT class, name, target, direction FROM orm.relationships
ORDER BY class, name;';
