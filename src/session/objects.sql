CREATE FUNCTION orm.add(object anyelement) RETURNS anyelement
	AS 'MODULE_PATHNAME', 'orm_add_object'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.add(anyelement) IS
$$Adds an object to the current session; its INSERT runs at the next flush.
object: a row of a model; a NULL in a column that has a default takes the default, evaluated now. Returns the object as the session has it; one that is in the session already is returned as it is there.
Errors: P0002 without an object, 42704 if the row type is not mapped, 42501 without INSERT privilege.
Example: SELECT * FROM orm.add(jsonb_populate_record(NULL::users, '{"name": "row"}'));$$;

CREATE FUNCTION orm.add(model anyelement, doc jsonb) RETURNS anyelement
	AS 'MODULE_PATHNAME', 'orm_add_document'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.add(anyelement, jsonb) IS
$$Adds an object made from a JSON document to the current session; its INSERT runs at the next flush.
model: NULL::table, only its type counts. doc: a JSON object keyed by column or relationship; an absent column takes its default, evaluated now, a JSON null is NULL. The value of a relationship is an object, an array of them for a collection, or null: a nested document with the key of an existing object means that one, others are added as well. Returns the object, its key and defaults filled in.
Errors: 22023 if doc is no JSON object, 42703 for an unknown key, 42704 if the row type is not mapped, 42501 without INSERT privilege, 23505 if the session has an object of that key, 428C9 for a generated column.
Example: SELECT * FROM orm.add(NULL::boy, '{"hostname": "b1", "girls": [{"name": "g1"}, {"name": "g2"}]}');$$;

CREATE FUNCTION orm.add_all(model anyelement, docs jsonb)
	RETURNS SETOF anyelement
	AS 'MODULE_PATHNAME', 'orm_add_all'
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION orm.add_all(anyelement, jsonb) IS
$$Adds an object for each document of a JSON array, as orm.add does for one.
Returns the objects in the order of the documents. Errors: 22023 if docs is no JSON array of objects, and those of orm.add.
Example: SELECT * FROM orm.add_all(NULL::users, '[{"name": "lqzee"}, {"name": "egon"}]');$$;

CREATE FUNCTION orm.get(model anyelement, VARIADIC key "any")
	RETURNS anyelement
	AS 'MODULE_PATHNAME', 'orm_get'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.get(anyelement, VARIADIC "any") IS
$$The object with that primary key: from the session if it is there, else read from the table.
model: NULL::table. key: one value for each column of the primary key, in its order. Returns NULL if there is no such row, if it is marked deleted, or if a part of the key is NULL.
Errors: 22023 for a wrong number of values, 42704 if the row type is not mapped, 42501 without SELECT privilege.
Example: SELECT * FROM orm.get(NULL::users, 1);$$;

CREATE FUNCTION orm.get(model anyelement, VARIADIC key text[])
	RETURNS anyelement
	AS 'MODULE_PATHNAME', 'orm_get'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.get(anyelement, VARIADIC text[]) IS
$$As orm.get with typed values, for key values sent as text (drivers that send parameters without a type).
Errors: 22P02 if a value is no input of its column's type, and those of the other form.
Example: PREPARE g AS SELECT * FROM orm.get(NULL::users, $1);$$;

CREATE FUNCTION orm.set(object anyelement, changes jsonb) RETURNS anyelement
	AS 'MODULE_PATHNAME', 'orm_set'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.set(anyelement, jsonb) IS
$$Changes an object; its UPDATE runs at the next flush, of the columns that differ from the stored row.
object: names the object by its key; it is loaded first if the session does not have it. changes: a JSON object keyed by column or relationship, as the document of orm.add; an array makes a collection be exactly its members. Returns the object as the session has it now. A version column that changes names is compared with the object's, and not set.
Errors: P0002 without an object or a row with its key, 40001 if changes names another version, 55000 if it is deleted, 42703 for an unknown key, 22023 if changes is no JSON object, 42501 without UPDATE privilege on the columns.
Example: SELECT u.* FROM users o, orm.set(o, '{"age": 5}') u WHERE o.id = 1;$$;

CREATE FUNCTION orm.merge(object anyelement) RETURNS anyelement
	AS 'MODULE_PATHNAME', 'orm_merge_object'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.merge(anyelement) IS
$$Inserts or updates by key: changes the object of that key if there is one, and adds it otherwise; written at the next flush.
object: a row of a model, all of whose columns are taken; a new object takes a column's default where the row has NULL. Returns the object as the session has it.
Errors: P0002 without an object, 40001 if the row names another version than the stored one (models with a version column), 55000 if the object is deleted, and those of orm.add and orm.set.
Example: SELECT * FROM orm.merge(jsonb_populate_record(NULL::users, '{"id": 1, "name": "row"}'));$$;

CREATE FUNCTION orm.merge(model anyelement, doc jsonb) RETURNS anyelement
	AS 'MODULE_PATHNAME', 'orm_merge_document'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.merge(anyelement, jsonb) IS
$$Inserts or updates by the key in a JSON document, nested documents too; absent keys are left untouched, and an array makes a collection be exactly its members.
model: NULL::table. doc: as of orm.add. Returns the object as the session has it.
Errors: 40001 if doc names another version than the stored one (models with a version column), 55000 if the object is deleted, and those of orm.add and orm.set.
Example: SELECT * FROM orm.merge(NULL::boy, '{"id": 1, "hostname": "b1", "girls": [{"id": 1}]}');$$;

CREATE FUNCTION orm.delete(object anyelement) RETURNS void
	AS 'MODULE_PATHNAME', 'orm_delete'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.delete(anyelement) IS
$$Marks an object deleted; its DELETE runs at the next flush. One that was added and not flushed yet leaves the session without any SQL.
What its relationships lead to is deleted with it (cascade delete), or gets NULL in its foreign keys; link rows go.
object: names the object by its key. Errors: P0002 without an object or a row with its key, 55000 if it is deleted already, 42501 without DELETE privilege, 23502 if a foreign key that must not be NULL would become so.
Example: SELECT orm.delete(u) FROM users u WHERE u.id = 1;$$;

CREATE FUNCTION orm.refresh(object anyelement) RETURNS anyelement
	AS 'MODULE_PATHNAME', 'orm_refresh'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.refresh(anyelement) IS
$$Discards what the session knows of an object, its pending changes included, and reads it again, after a flush of what else is pending. One that orm.delete has marked stays marked.
object: names the object by its key. Errors: P0002 without an object or a row with its key, 55000 if it is not stored yet or deleted.
Example: SELECT * FROM orm.refresh(orm.get(NULL::users, 1));$$;

CREATE FUNCTION orm.expire(object anyelement) RETURNS void
	AS 'MODULE_PATHNAME', 'orm_expire'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.expire(anyelement) IS
$$Discards what the session knows of an object, its pending changes included; it is read again when next wanted. One that orm.delete has marked stays marked. Does nothing for an object that the session does not have.
object: names the object by its key. Errors: 55000 if it is not stored yet or deleted.
Example: SELECT orm.expire(orm.get(NULL::users, 1));$$;

CREATE FUNCTION orm.expunge(object anyelement) RETURNS void
	AS 'MODULE_PATHNAME', 'orm_expunge'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.expunge(anyelement) IS
$$Takes an object out of the session with its pending changes, without any SQL. Does nothing for an object that the session does not have.
object: names the object by its key. Errors: 55000 while the session flushes.
Example: SELECT orm.expunge(u) FROM orm.add(NULL::users, '{"name": "draft"}') u;$$;

CREATE FUNCTION orm.expire_all() RETURNS void
	AS 'MODULE_PATHNAME', 'orm_expire_all'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.expire_all() IS
$$Expires every object of the current session, as orm.expire does for one; objects that are not stored yet are left alone.
Example: SELECT orm.expire_all();$$;

CREATE FUNCTION orm.expunge_all() RETURNS void
	AS 'MODULE_PATHNAME', 'orm_expunge_all'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.expunge_all() IS
$$Takes every object out of the current session, with all pending changes. Errors: 55000 while the session flushes.
Example: SELECT orm.expunge_all();$$;

CREATE FUNCTION orm.flush() RETURNS bigint
	AS 'MODULE_PATHNAME', 'orm_flush'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.flush() IS
$$Writes what the current session has pending: INSERTs and UPDATEs in foreign-key order, then DELETEs. Returns the number of rows written.
Errors: those of the statements, with a CONTEXT that names the flush; 40001 if a row was deleted by somebody else, 09000 if a trigger left a row out.
Example: SELECT orm.flush();$$;

CREATE FUNCTION orm.is_modified(object anyelement) RETURNS bool
	AS 'MODULE_PATHNAME', 'orm_is_modified'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.is_modified(anyelement) IS
$$Does the session have a pending change of this object? Never runs SQL and never flushes.
object: names the object by its key. Returns false for one that the session does not have.
Example: SELECT orm.is_modified(orm.get(NULL::users, 1));$$;

CREATE FUNCTION orm.list_session_objects(OUT session text, OUT class text,
		OUT identity jsonb, OUT state text, OUT modified bool)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'orm_session_objects'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.list_session_objects() IS
$$The rows of the view orm.session_objects.
Example: SELECT * FROM orm.list_session_objects();$$;

CREATE VIEW orm.session_objects AS
	SELECT o.session, o.class, o.identity, o.state, o.modified
	FROM orm.list_session_objects() AS o;
COMMENT ON VIEW orm.session_objects IS
$$The objects that the sessions of this backend have for the present user, without running a flush. state: new, dirty, deleted (marked and not yet flushed), persistent, or expired.
Example: SELECT class, identity FROM orm.session_objects WHERE state = 'dirty';$$;
GRANT SELECT ON orm.session_objects TO PUBLIC;
