CREATE FUNCTION orm.json_schema(view regclass) RETURNS json
	AS 'MODULE_PATHNAME', 'orm_json_schema'
	LANGUAGE C STABLE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION orm.json_schema(regclass) IS
$$The JSON Schema (2020-12) of the documents of an ORM view, as they may be written; readOnly marks what is only shown.
Errors: 42809 if the relation is no ORM view.
Example: SELECT orm.json_schema('boy_doc');$$;
