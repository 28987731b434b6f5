CREATE FUNCTION orm.save(class text, doc jsonb, selection text DEFAULT NULL)
	RETURNS jsonb
	AS 'MODULE_PATHNAME', 'orm_save'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.save(text, jsonb, text) IS
$$Writes a graph of objects as one JSON document, or an array of them as one unit of work: inserts or updates each object by its primary key (within a document, nothing but a key means an object that exists), connects what exists, and makes each collection that the document names have exactly its members; others are unlinked, or deleted where the selection says @delete. Returns what is stored then, in the shape of the selection.
class: a class, or its table. doc: the document; absent keys are left as they are, an _etag or a version column in it is checked. selection: what of the graph the document has, and what may be written (@insert @update @delete; without any annotation all but deleting members); by default what the document names.
Errors, with the JSON path of the place as CONTEXT: 40001 for a stale etag or version (also of what is gone), P0002 for a key that does not exist, 42501 for a write that the selection does not allow, 42703 for a key that the selection does not have, 22023 for a wrong shape or a malformed etag, 55000 for a member that belongs to another object, 42601 and 42704 for the selection, and those of the statements.
Example: SELECT orm.save('Boy', '{"hostname": "b1", "girls": [{"name": "g1"}]}');$$;

CREATE FUNCTION orm.write_document() RETURNS trigger
	AS 'MODULE_PATHNAME', 'orm_write_document'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.write_document() IS
$$The INSTEAD OF trigger of ORM views: writes the document in the column data. Its arguments are the class and the selection.
Example: CREATE TRIGGER write_document INSTEAD OF INSERT OR UPDATE OR DELETE ON boy_doc FOR EACH ROW EXECUTE FUNCTION orm.write_document('Boy', '{ hostname girls { name } }');$$;

CREATE FUNCTION orm.create_view(name text, class text, selection text)
	RETURNS void
	AS 'MODULE_PATHNAME', 'orm_create_view'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.create_view(text, text, text) IS
$$Makes an ORM view: the key columns of a class, data (the JSON document of the selection) and etag; readable like any view and writable by INSERT, UPDATE and DELETE of data, under the caller's own grants and row security.
name: of the view, with its schema if need be. class: a class, or its table. selection: as of orm.find, with @insert, @update and @delete at the levels that may be written (without any annotation all but deleting members).
An UPDATE is refused (40001) if the document was changed since it was read: its etag is compared with _etag in the new document, else with the row's.
Errors: 42601, 42703, 42704 for the selection, 42701 if a key column is named data or etag, and those of CREATE VIEW.
Example: SELECT orm.create_view('boy_doc', 'Boy', '{ id hostname girls { id name } }');$$;

CREATE FUNCTION orm.drop_view(name text) RETURNS void
	AS 'MODULE_PATHNAME', 'orm_drop_view'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.drop_view(text) IS
$$Drops an ORM view.
Errors: 42809 if it is another view, and those of DROP VIEW.
Example: SELECT orm.drop_view('boy_doc');$$;
