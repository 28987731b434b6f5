CREATE FUNCTION orm.append(owner anyelement, relationship text, member record)
	RETURNS void
	AS 'MODULE_PATHNAME', 'orm_append'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.append(anyelement, text, record) IS
$$Adds a member to a collection; what that means for foreign keys or link rows is written at the next flush. Neither loads nor flushes; a link that is there already is not doubled.
owner: names the object by its key. relationship: the name of a one-to-many or many-to-many relationship of its class. member: a row of the target's type, which names an object by its key.
Errors: P0002 without an object, 42704 for an unknown relationship, 42809 for a scalar or viewonly one, 42804 for a member of another type, 55000 for a deleted one, 42501 without privilege.
Example: SELECT orm.append(h, 'pers', p) FROM hobby h, person p WHERE h.id = 1 AND p.nid = 2;$$;

CREATE FUNCTION orm.remove(owner anyelement, relationship text, member record)
	RETURNS void
	AS 'MODULE_PATHNAME', 'orm_remove'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.remove(anyelement, text, record) IS
$$Takes a member from a collection: its foreign key becomes NULL or its link row goes, at the next flush; with cascade delete-orphan the member is deleted unless it is given another owner before. Neither loads nor flushes.
Parameters as of orm.append. Errors: 23502 if the foreign key must not be NULL, and those of orm.append.
Example: SELECT orm.remove(h, 'pers', p) FROM hobby h, pers(h) p WHERE h.id = 1;$$;
