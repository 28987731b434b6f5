-- ---------------------------------------------------------------------------
-- model/declare: classes and their tables, declared in SQL
-- ---------------------------------------------------------------------------

CREATE TYPE orm.column_arg AS (
	name text, type text, primary_key boolean, nullable boolean,
	unique_key boolean, index boolean, default_sql text, foreign_key text,
	ondelete text, onupdate text, autoincrement boolean, generated text
);
COMMENT ON TYPE orm.column_arg IS
'A column of orm.declare, made by orm.column.';

CREATE TYPE orm.relationship_arg AS (
	name text, target text, backref text, secondary text,
	foreign_keys text[], remote_side text[], order_by text, cascade text,
	passive_deletes boolean, viewonly boolean, uselist boolean
);
COMMENT ON TYPE orm.relationship_arg IS
'A relationship of orm.declare, made by orm.relationship.';

CREATE FUNCTION orm.column(name text, type text,
						   primary_key boolean = false,
						   nullable boolean = NULL,
						   unique_key boolean = false,
						   index boolean = false, default_sql text = NULL,
						   foreign_key text = NULL, ondelete text = NULL,
						   onupdate text = NULL,
						   autoincrement boolean = NULL,
						   generated text = NULL)
	RETURNS orm.column_arg LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN ROW($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,
			   $12)::orm.column_arg;
COMMENT ON FUNCTION orm.column(text, text, boolean, boolean, boolean, boolean,
							   text, text, text, text, boolean, text) IS
'A column for orm.declare.
name, type: as in CREATE TABLE; primary_key; nullable: by default true, but
false for a primary key; unique_key, index; default_sql: a SQL expression,
evaluated for every row (a string constant needs its quotes); foreign_key:
"table.column" or "schema.table.column", names as they are; ondelete, onupdate:
CASCADE, SET NULL, SET DEFAULT, RESTRICT or NO ACTION; autoincrement: GENERATED
BY DEFAULT AS IDENTITY, by default for a single integer primary key that is no
foreign key and has no default; generated: the expression of a stored generated
column.
Example: SELECT orm.column(''name'', ''varchar(32)'', nullable => false);';

CREATE FUNCTION orm.relationship(name text, target text, backref text = NULL,
								 secondary text = NULL,
								 foreign_keys text[] = NULL,
								 remote_side text[] = NULL,
								 order_by text = NULL, cascade text = NULL,
								 passive_deletes boolean = false,
								 viewonly boolean = false,
								 uselist boolean = NULL)
	RETURNS orm.relationship_arg LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN ROW($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
			   $11)::orm.relationship_arg;
COMMENT ON FUNCTION orm.relationship(text, text, text, text, text[], text[],
									 text, text, boolean, boolean, boolean) IS
'A relationship for orm.declare; the parameters are those of orm.relate. Its
target may be declared later.
Example: SELECT orm.relationship(''hobby'', ''Hobby'', backref => ''pers'');';

CREATE FUNCTION orm.declare(class text, tablename text,
							columns orm.column_arg[],
							constraints text[] = NULL, indexes text[] = NULL,
							relationships orm.relationship_arg[] = NULL,
							schema text = pg_catalog.current_schema(),
							version_column name = NULL)
	RETURNS void AS 'MODULE_PATHNAME', 'orm_declare'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.declare(text, text, orm.column_arg[], text[], text[],
								orm.relationship_arg[], text, name) IS
'Declares a class and its table; orm.create_all makes the table. A table of
that name that exists already is taken as it is, if it is yours.
class, tablename; columns: of orm.column; constraints: SQL as in CREATE TABLE;
indexes: SQL as after CREATE INDEX, without the table; relationships: of
orm.relationship; schema; version_column: a column that tells versions of a row
apart. Types, expressions, constraints and indexes are parsed at once.
Errors: 42710 the class or table is declared already; 42601 a fragment that is
not what it should be; 42704 unknown type; 42703 unknown column; 42701 two
columns, or a column and a relationship, of one name; 42804 a default of
another type; 42P16 no primary key, or two; 22023 bad option; 3F000 unknown
schema; 42501 no CREATE privilege on it.
Example: SELECT orm.declare(''Hobby'', ''hobby'', ARRAY[
	orm.column(''id'', ''integer'', primary_key => true),
	orm.column(''caption'', ''varchar(50)'', default_sql => $$''chess''$$)]);';
