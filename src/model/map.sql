-- ---------------------------------------------------------------------------
-- model/map: existing tables become models
-- ---------------------------------------------------------------------------

CREATE FUNCTION orm.map(relation regclass, class text = NULL,
						version_column name = NULL, primary_key name[] = NULL)
	RETURNS void AS 'MODULE_PATHNAME', 'orm_map'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.map(regclass, text, name, name[]) IS
'Maps an existing table, view or foreign table without changing it.
relation: it must be yours; class: the class''s name, by default the table''s;
version_column: a column that tells versions of a row apart; primary_key: the
key''s columns, only for views and foreign tables.
Errors: 42P16 no primary key; 42710 class or table mapped already; 42809 a
temporary table, a system catalog or no table; 42703 unknown column; 42804 a
version column that is no integer; 42501 not the owner.
Example: SELECT orm.map(''public.person'', ''Person'');';

CREATE FUNCTION orm.relate(class text, name text, target text,
						   backref text = NULL, secondary text = NULL,
						   foreign_keys text[] = NULL,
						   remote_side text[] = NULL, order_by text = NULL,
						   cascade text = NULL,
						   passive_deletes boolean = false,
						   viewonly boolean = false, uselist boolean = NULL)
	RETURNS void AS 'MODULE_PATHNAME', 'orm_relate'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.relate(text, text, text, text, text, text[], text[],
							   text, text, boolean, boolean, boolean) IS
'Adds a relationship to a class and makes its navigation functions. The foreign
keys of the tables decide its direction.
class, name: where it begins and what it is called; target: the class it leads
to; backref: its name as seen from the target; secondary: the table between
the two of a many-to-many; foreign_keys: the foreign key''s columns where
several are possible, or where there is no constraint; remote_side: the
target''s columns, which makes a self-referential relationship many-to-one;
order_by: a sort list for the collection; cascade: as in SQLAlchemy, by default
save-update, merge; passive_deletes: leave the children to ON DELETE; viewonly:
never written; uselist: false makes it one-to-one.
Errors: 42704 unknown class; 42830 no foreign key; 42725 several foreign keys;
42701 or 42710 the name is taken; 22023 an unknown cascade, delete-orphan on
other than a one-to-many; 42501 not the owner (of the target, if there is a
backref).
Example: SELECT orm.relate(''Person'', ''hobby'', ''Hobby'', backref => ''pers'');';

CREATE FUNCTION orm.unmap(class text)
	RETURNS void AS 'MODULE_PATHNAME', 'orm_unmap'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.unmap(text) IS
'Forgets a class with its relationships, and those of others that lead to it;
the table stays as it is. What the current session has pending is flushed before.
Errors: 55006 changes of it are pending that autoflush does not write;
42704 unknown class; 42501 not the owner; 2BP01 the class belongs to an
extension, or a view uses a navigation function.
Example: SELECT orm.unmap(''Person'');';
