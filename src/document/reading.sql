-- Reading documents: src/document/reading.c

CREATE FUNCTION orm.find(class text, selection text DEFAULT '{ * }',
    filter text DEFAULT NULL, filter_by jsonb DEFAULT NULL,
    order_by text DEFAULT NULL, row_limit bigint DEFAULT NULL,
    row_offset bigint DEFAULT NULL, params jsonb DEFAULT NULL)
RETURNS SETOF json
AS 'MODULE_PATHNAME', 'orm_find'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION orm.find(text, text, text, jsonb, text, bigint, bigint, jsonb) IS
'The objects that meet the criteria as JSON documents, in the order of order_by and then of the primary key. At most one statement for each level of the selection, all of one moment; what the session has pending is flushed first.
class: a class, or its table. selection: what of the graph is wanted, as in { id name hobby { caption } pers(order_by: "name", limit: 10) { * } }: columns, relationships with their fields, functions of one row of the table (a set is an array, or one value if it is of ROWS 1), "*" for all columns that are not named, _etag, and key: name for another key in the document. Arguments of a relationship: filter, filter_by, order_by, limit, offset (for each parent). Annotations: @nocheck (not part of the etag), @hidden (not shown), @unnest (the fields of one object become its parent''s). filter, filter_by, order_by, params: as of orm.query; filter_by may have operators, too: {"age": {"ge": 18, "lt": 65}} (eq, ne, lt, le, gt, ge, in, not_in, between, like, ilike, is_null), {"pers": {"some": {...}}} (some, every, none), and, or, not; params are those of the fragments within the selection, too.
Errors: 42601 (wrong notation, with the position), 42704, 42703 (unknown class or relationship, unknown column), and those of orm.query.
Example: SELECT * FROM orm.find(''Person'', ''{ nid name hobby { caption } }'', filter_by => ''{"hobby": {"caption": "篮球"}}'');';

CREATE FUNCTION orm.document(object anyelement, selection text DEFAULT '{ * }')
RETURNS json
AS 'MODULE_PATHNAME', 'orm_document'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION orm.document(anyelement, text) IS
'An object as a JSON document, as orm.find makes it. For many objects orm.find is faster.
object: names the object by its key. selection: as of orm.find.
Errors: P0002 without an object or a row with its key, 42601, 42704, 42703 as of orm.find.
Example: SELECT orm.document(b, ''{ hostname girls { name } }'') FROM orm.first(NULL::boy) b;';

CREATE FUNCTION orm.row_document(object anyelement, selection text)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'orm_row_document'
LANGUAGE C STABLE PARALLEL RESTRICTED;

COMMENT ON FUNCTION orm.row_document(anyelement, text) IS
'The column data of ORM views: the document of a row, whose own columns are taken as they are. It reads with the snapshot of the statement that calls it, and flushes nothing.
Errors: 42601, 42704, 42703 as of orm.find; 40001 if a table was rewritten while the query around it ran.
Example: SELECT orm.row_document(b.*, ''{ hostname girls { name } }'') FROM boy b;';

CREATE FUNCTION orm.row_etag(object anyelement, selection text)
RETURNS text
AS 'MODULE_PATHNAME', 'orm_row_etag'
LANGUAGE C STABLE PARALLEL RESTRICTED;

COMMENT ON FUNCTION orm.row_etag(anyelement, text) IS
'The column etag of ORM views: a hash over the checked content of the document of a row; the same under whatever settings, and whatever the order of rows. Functions and what is marked @nocheck do not count.
Errors: 42601, 42704, 42703 as of orm.find; 40001 if a table was rewritten while the query around it ran.
Example: SELECT orm.row_etag(b.*, ''{ hostname girls { name } }'') FROM boy b;';
