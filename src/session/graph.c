/*-------------------------------------------------------------------------
 *
 * graph.c
 *	  Documents that name relationships: graphs of objects, added, changed or
 *	  merged as a whole.
 *
 * In a document the value of a relationship is an object, an array of them,
 * or null.  A nested document with the whole key of an existing object means
 * that object (and changes what else it names); one without is a new object.
 * A plain value stands for an object by its key of one column.
 *
 * An object that others reference is added before them, since its key is
 * known as soon as it is added; members of its collections come after it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "compat.h"
#include "session/graph.h"
#include "session/internal.h"

/* A relationship that a document names, and its value there. */
typedef struct RelationshipValue
{
	Relationship *relationship;
	JsonbValue	value;
} RelationshipValue;

/* A document taken apart: columns, and relationships. */
typedef struct DocumentParts
{
	Jsonb	   *columns;
	List	   *relationships;	/* RelationshipValue * */
} DocumentParts;

static Datum graph_resolve(Session *session, Model *target, JsonbValue *value,
						   const Relationship *relationship,
						   const ForeignKeyValues *known);

/* ------------------------------------------------------------------------
 * taking a document apart
 * ------------------------------------------------------------------------
 */
static char *
json_key_name(const JsonbValue *key)
{
	return pnstrdup(key->val.string.val, key->val.string.len);
}

/* Does the document name a relationship at all? */
static bool
has_relationships(Model *model, Jsonb *doc)
{
	JsonbIterator *iterator;
	JsonbValue	value;
	JsonbIteratorToken token;

	if (model->nrelationships == 0 || !JB_ROOT_IS_OBJECT(doc))
		return false;
	iterator = JsonbIteratorInit(&doc->root);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		for (int i = 0; i < model->nrelationships; i++)
		{
			const char *name = model->relationships[i]->name;

			if (strlen(name) == value.val.string.len &&
				memcmp(name, value.val.string.val,
					   value.val.string.len) == 0 &&
				model_attnum(model, name, true) == InvalidAttrNumber)
				return true;
		}
	}
	return false;
}

static void
parts_add_relationship(DocumentParts *parts, Model *model,
					   Relationship *relationship, JsonbValue *value)
{
	RelationshipValue *entry = palloc(sizeof(RelationshipValue));

	require_writable_relationship(model, relationship);
	entry->relationship = relationship;
	entry->value = *value;
	parts->relationships = lappend(parts->relationships, entry);
}

static DocumentParts
document_parts(Model *model, Jsonb *doc)
{
	DocumentParts parts = {.columns = doc};
	JsonbIterator *iterator;
	JsonbParseState *state = NULL;
	JsonbValue	key,
				value;
	JsonbIteratorToken token;

	if (!has_relationships(model, doc))
		return parts;
	iterator = JsonbIteratorInit(&doc->root);
	(void) JsonbIteratorNext(&iterator, &value, true);
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	while ((token = JsonbIteratorNext(&iterator, &key, true)) == WJB_KEY)
	{
		char	   *name = json_key_name(&key);
		Relationship *relationship = model_relationship(model, name, true);

		(void) JsonbIteratorNext(&iterator, &value, true);
		if (relationship != NULL &&
			model_attnum(model, name, true) == InvalidAttrNumber)
			parts_add_relationship(&parts, model, relationship, &value);
		else
		{
			(void) pushJsonbValue(&state, WJB_KEY, &key);
			(void) pushJsonbValue(&state, WJB_VALUE, &value);
		}
	}
	parts.columns = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT,
													 NULL));
	return parts;
}

/* ------------------------------------------------------------------------
 * foreign keys
 * ------------------------------------------------------------------------
 */

ForeignKeyValues
foreign_key_values(Model *from, Datum row, const AttrNumber *from_attnums,
				   Model *to, AttrNumber *to_attnums, int n)
{
	ForeignKeyValues result = {
		.n = n,
		.attnums = to_attnums,
		.values = palloc0(n * sizeof(Datum)),
		.nulls = palloc(n * sizeof(bool))
	};

	for (int i = 0; i < n; i++)
	{
		Form_pg_attribute column = TupleDescAttr(to->tupdesc,
												 to_attnums[i] - 1);
		Oid			from_type = TupleDescAttr(from->tupdesc,
											  from_attnums[i] - 1)->atttypid;

		result.nulls[i] = true;
		if (row == (Datum) 0)
			continue;
		result.values[i] = row_column(from, row, from_attnums[i],
									  &result.nulls[i]);
		if (!result.nulls[i])
			result.values[i] = convert_value(result.values[i], from_type,
											 column->atttypid,
											 column->atttypmod);
	}
	return result;
}

Datum
row_with_foreign_key(Model *model, Datum row, const ForeignKeyValues *known,
					 Bitmapset **given)
{
	*given = bms_add_members(*given, column_set(known->n, known->attnums));
	return row_with_columns(model, row, known->n, known->attnums,
							known->values, known->nulls);
}

/*
 * An object whose key a trigger makes has it only once it is stored, which
 * whoever references it has to wait for.
 */
static Datum
row_with_known_columns(Session *session, Model *model, Object *object,
					   Datum row, const AttrNumber *attnums, int n)
{
	for (int i = 0; i < n; i++)
	{
		bool		isnull;

		(void) row_column(model, row, attnums[i], &isnull);
		if (isnull && object_key(object) == NULL)
		{
			session_flush(session, FLUSH_KEYS);
			return row_from_tuple(model, object_current_row(object));
		}
	}
	return row;
}

/* ------------------------------------------------------------------------
 * relationships of a document
 * ------------------------------------------------------------------------
 */
static bool
is_to_one(Relationship *relationship)
{
	return relationship->direction == RELATIONSHIP_MANY_TO_ONE;
}

static bool
is_null_value(JsonbValue *value)
{
	return value->type == jbvNull;
}

/* Foreign keys that the document's to-one relationships make. */
static Datum
set_to_one(Session *session, Model *model, List *relationships, Datum row,
		   Bitmapset **given)
{
	ListCell   *cell;

	foreach(cell, relationships)
	{
		RelationshipValue *entry = lfirst(cell);
		Relationship *relationship = entry->relationship;
		Model	   *target = model_by_relid(relationship->target, false);
		ForeignKeyValues known;
		Datum		target_row = (Datum) 0;

		if (!is_to_one(relationship))
			continue;
		if (!is_null_value(&entry->value))
		{
			target_row = graph_resolve(session, target, &entry->value,
									   relationship, NULL);
			require_referenced(target, target_row, relationship->nremote,
							   relationship->remote_attnums);
		}
		known = foreign_key_values(target, target_row,
								   relationship->remote_attnums, model,
								   relationship->local_attnums,
								   relationship->nlocal);
		row = row_with_foreign_key(model, row, &known, given);
	}
	return row;
}

/* Is it the way back of a relationship that deletes orphans? */
static bool
leaves_orphans(Relationship *relationship)
{
	Model	   *target = model_by_relid(relationship->target, false);

	for (int i = 0; i < target->nrelationships; i++)
	{
		Relationship *other = target->relationships[i];

		if ((other->cascade & CASCADE_DELETE_ORPHAN) &&
			other->target == relationship->owner &&
			bms_equal(column_set(other->nremote, other->remote_attnums),
					  column_set(relationship->nlocal,
								 relationship->local_attnums)))
			return true;
	}
	return false;
}

/* A stored object that is taken from its owner from its own side. */
static void
mark_orphan(Object *object, List *relationships)
{
	ListCell   *cell;

	foreach(cell, relationships)
	{
		RelationshipValue *entry = lfirst(cell);
		AttrNumber	attnum;

		if (!is_to_one(entry->relationship) ||
			!is_null_value(&entry->value) ||
			object->top->state != OBJECT_PERSISTENT)
			continue;
		attnum = entry->relationship->local_attnums[0];
		if (bms_is_member(column_member(attnum), object->top->modified) &&
			leaves_orphans(entry->relationship))
			object_touch(object)->orphan_attnum = attnum;
	}
}

static void
report_wrong_shape(Relationship *relationship, const char *wanted)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("the value of relationship \"%s\" must be %s",
					relationship->name, wanted)));
}

/* The documents of a collection's value: List of JsonbValue *. */
static List *
collection_documents(RelationshipValue *entry)
{
	Relationship *relationship = entry->relationship;
	List	   *documents = NIL;

	if (!relationship->uselist)
	{
		if (!is_null_value(&entry->value))
			documents = list_make1(&entry->value);
		return documents;
	}
	if (entry->value.type != jbvBinary ||
		!JsonContainerIsArray(entry->value.val.binary.data))
		report_wrong_shape(relationship, "a JSON array");
	for (uint32 i = 0; i < JsonContainerSize(entry->value.val.binary.data); i++)
		documents = lappend(documents,
							getIthJsonbValueFromContainer(entry->value.val.binary.data,
														  i));
	return documents;
}

/* The rows of a collection's members, with their foreign keys to the owner. */
static List *
resolve_members(Session *session, Model *model, Datum row,
				RelationshipValue *entry)
{
	Relationship *relationship = entry->relationship;
	Model	   *target = model_by_relid(relationship->target, false);
	bool		many = relationship->direction == RELATIONSHIP_MANY_TO_MANY;
	ForeignKeyValues known;
	List	   *documents = collection_documents(entry);
	List	   *rows = NIL;
	ListCell   *cell;

	if (!many && documents != NIL)
	{
		require_referenced(model, row, relationship->nlocal,
						   relationship->local_attnums);
		known = foreign_key_values(model, row, relationship->local_attnums,
								   target, relationship->remote_attnums,
								   relationship->nlocal);
	}
	foreach(cell, documents)
	{
		Datum		member = graph_resolve(session, target, lfirst(cell),
										   relationship,
										   many ? NULL : &known);

		rows = lappend(rows, DatumGetPointer(member));
	}
	return rows;
}

static void
add_members(Session *session, Model *model, Datum row, List *relationships)
{
	ListCell   *cell;

	foreach(cell, relationships)
	{
		RelationshipValue *entry = lfirst(cell);
		ListCell   *member;

		if (is_to_one(entry->relationship))
			continue;
		foreach(member, resolve_members(session, model, row, entry))
		{
			if (entry->relationship->direction == RELATIONSHIP_MANY_TO_MANY)
				session_link(session, entry->relationship, row,
							 PointerGetDatum(lfirst(member)));
		}
	}
}

static void
replace_members(Session *session, Model *model, Datum row,
				List *relationships)
{
	ListCell   *cell;

	foreach(cell, relationships)
	{
		RelationshipValue *entry = lfirst(cell);

		if (!is_to_one(entry->relationship))
			collection_replace(session, model, row, entry->relationship,
							   resolve_members(session, model, row, entry));
	}
}

/* ------------------------------------------------------------------------
 * adding and changing
 * ------------------------------------------------------------------------
 */

/* With a referrer, what that refers to by has values afterwards. */
static Datum
add_parts(Session *session, Model *model, DocumentParts *parts,
		  const ForeignKeyValues *known, const Relationship *referrer)
{
	Bitmapset  *given = NULL;
	Datum		row = row_from_document(model, (Datum) 0,
										JsonbPGetDatum(parts->columns),
										&given);
	Object	   *object;

	row_require_settable(model, given);
	row = set_to_one(session, model, parts->relationships, row, &given);
	if (known != NULL)
		row = row_with_foreign_key(model, row, known, &given);
	row = row_with_defaults(model, row, &given);
	object = session_add(session, model, row, given);
	if (object->top->state != OBJECT_PENDING)
	{
		/* it takes the row of one that was to be deleted, without its links */
		row = row_from_tuple(model, object_current_row(object));
		collection_unlink_all(session, model, row);
	}
	if (referrer != NULL)
		row = row_with_known_columns(session, model, object, row,
									 referrer->remote_attnums,
									 referrer->nremote);
	if (parts->relationships == NIL)
		return row;
	for (int i = 0; i < model->nrelationships; i++)
		row = row_with_known_columns(session, model, object, row,
									 model->relationships[i]->local_attnums,
									 is_to_one(model->relationships[i]) ? 0 :
									 model->relationships[i]->nlocal);
	add_members(session, model, row, parts->relationships);
	return row;
}

/* A version that is given must be the one that was loaded. */
void
graph_check_version(Model *model, Object *object, Datum row)
{
	bool		isnull;

	if (model->version_attnum == InvalidAttrNumber ||
		object->top->state != OBJECT_PERSISTENT)
		return;
	(void) row_column(model, row, model->version_attnum, &isnull);
	if (isnull)
		return;
	if (row_version_number(model, row_to_tuple(row)) == object->top->number)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("%s %s is stale: it has another version than the one given",
					model->class_name,
					model_key_to_text(model, object_key(object))),
			 errhint("Leave %s out to write without a check.",
					 column_sql(model, model->version_attnum))));
}

/* The version of a document is checked, and not taken: the UPDATE counts. */
static void
check_document_version(Model *model, Object *object, Datum row,
					   Bitmapset **columns)
{
	int			member = column_member(model->version_attnum);

	if (model->version_attnum == InvalidAttrNumber ||
		object->top->state != OBJECT_PERSISTENT ||
		!bms_is_member(member, *columns))
		return;
	graph_check_version(model, object, row);
	*columns = bms_del_member(*columns, member);
}

static Datum
set_parts(Session *session, Model *model, Datum row, DocumentParts *parts,
		  const ForeignKeyValues *known)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(row);
	Object	   *object = session_object(session, model, header);
	Bitmapset  *columns = NULL;

	if (known != NULL)
		session_undelete(model, object);	/* it was given an owner */
	require_not_deleted(model, object);
	row = row_from_tuple(model, object_current_row(object));
	row = row_from_document(model, row, JsonbPGetDatum(parts->columns),
							&columns);
	if (!bms_is_empty(columns))
		require_key(model, row_to_tuple(row), columns);
	check_document_version(model, object, row, &columns);
	row = set_to_one(session, model, parts->relationships, row, &columns);
	if (known != NULL)
		row = row_with_foreign_key(model, row, known, &columns);
	/* what was loaded meanwhile may have pushed a clean object out */
	object = session_object(session, model, header);
	session_set(model, object, row, columns);
	mark_orphan(object, parts->relationships);
	row = row_from_tuple(model, object_current_row(object));
	replace_members(session, model, row, parts->relationships);
	return row;
}

HeapTuple
graph_add_plain(Session *session, Model *model, const JsonbContainer *doc)
{
	RowDraft	draft;
	Object	   *object;

	if (!JsonContainerIsObject(doc) || !row_draft(model, doc, &draft))
		return NULL;
	object = session_add_draft(session, model, &draft);
	if (object->top->state != OBJECT_PENDING)
		collection_unlink_all(session, model,
							  row_from_tuple(model, object_current_row(object)));
	return object_current_row(object);
}

Datum
graph_add(Session *session, Model *model, Jsonb *doc)
{
	HeapTuple	row = graph_add_plain(session, model, &doc->root);
	DocumentParts parts;

	if (row != NULL)
		return row_from_tuple(model, row);
	parts = document_parts(model, doc);
	return add_parts(session, model, &parts, NULL, NULL);
}

Datum
graph_set(Session *session, Model *model, Datum row, Jsonb *doc)
{
	DocumentParts parts = document_parts(model, doc);

	return set_parts(session, model, row, &parts, NULL);
}

/* ------------------------------------------------------------------------
 * documents that may mean an existing object
 * ------------------------------------------------------------------------
 */

/* Is the column one of those? */
static bool
is_known_column(const ForeignKeyValues *known, AttrNumber attnum)
{
	for (int i = 0; known != NULL && i < known->n; i++)
	{
		if (known->attnums[i] == attnum)
			return true;
	}
	return false;
}

static JsonbValue *
document_value(Jsonb *doc, Form_pg_attribute column)
{
	JsonbValue	name = {
		.type = jbvString,
		.val.string = {strlen(NameStr(column->attname)),
		NameStr(column->attname)}
	};

	return findJsonbValueFromContainer(&doc->root, JB_FOBJECT, &name);
}

Datum *
graph_document_key(Model *model, Jsonb *doc, const ForeignKeyValues *known,
				   Datum *row)
{
	Datum	   *key = palloc(model->nkeys * sizeof(Datum));
	Bitmapset  *given = NULL;
	bool		whole = true;

	for (int i = 0; i < model->nkeys; i++)
	{
		AttrNumber	attnum = model->keys[i].attnum;
		JsonbValue *value = document_value(doc, TupleDescAttr(model->tupdesc,
															  attnum - 1));

		if (value != NULL && !is_null_value(value))
			continue;
		if (value != NULL || !is_known_column(known, attnum))
			return NULL;
		whole = false;
	}
	*row = row_from_document(model, (Datum) 0, JsonbPGetDatum(doc), &given);
	if (!whole)
		*row = row_with_foreign_key(model, *row, known, &given);
	return model_key_of_row(model, DatumGetHeapTupleHeader(*row), key) ? key :
		NULL;
}

Object *
graph_existing(Session *session, Model *model, const Datum *key)
{
	Object	   *object = session_find(session, model, key);

	if (object != NULL && (object->top->state == OBJECT_PENDING ||
						   object->top->marked_deleted))
		return object;
	if (object != NULL && object->top->state == OBJECT_DELETED)
		return NULL;
	if (object != NULL && object_current_row(object) != NULL &&
		access_memory_suffices(model))
		return object;
	if (!session_load_by_key(session, model, key, false))
		return NULL;
	return session_find(session, model, key);
}

/*
 * Is the document nothing but a key?  Then it is of an object that exists,
 * unless the table has nothing else that could be given.
 */
static bool
is_reference(Model *model, DocumentParts *parts)
{
	if (parts->relationships != NIL ||
		JsonContainerSize(&parts->columns->root) != model->nkeys)
		return false;
	for (int i = 0; i < model->tupdesc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(model->tupdesc, i);

		if (!column->attisdropped &&
			document_value(parts->columns, column) == NULL)
			return true;
	}
	return false;
}

static void
report_no_reference(Model *model, const Datum *key)
{
	ereport(ERROR,
			(errcode(ERRCODE_NO_DATA_FOUND),
			 errmsg("%s %s does not exist", model->class_name,
					model_key_to_text(model, key)),
			 errhint("Within a document, nothing but a key means an object that exists.")));
}

static Datum
merge_parts(Session *session, Model *model, DocumentParts *parts,
			const ForeignKeyValues *known, const Relationship *referrer,
			bool must_exist)
{
	Datum		key_row;
	Datum	   *key = graph_document_key(model, parts->columns, known, &key_row);
	Object	   *object;

	if (key == NULL)
		return add_parts(session, model, parts, known, referrer);
	object = graph_existing(session, model, key);
	if (object == NULL)
	{
		if (must_exist)
			report_no_reference(model, key);
		return add_parts(session, model, parts, known, referrer);
	}
	return set_parts(session, model, row_of_key(model, key), parts, known);
}

Datum
graph_merge(Session *session, Model *model, Jsonb *doc)
{
	DocumentParts parts;

	require_object_document(model, doc);
	parts = document_parts(model, doc);
	return merge_parts(session, model, &parts, NULL, NULL, false);
}

/*
 * A row is merged whole: it gives all columns, NULLs too; only its version is
 * checked and not taken.
 */
Datum
graph_merge_row(Session *session, Model *model, Datum row)
{
	Datum	   *key = palloc(model->nkeys * sizeof(Datum));
	Bitmapset  *columns;
	Object	   *object = NULL;
	HeapTuple	merged;

	if (model_key_of_row(model, DatumGetHeapTupleHeader(row), key))
		object = graph_existing(session, model, key);
	if (object == NULL)
	{
		columns = row_columns_given(model, row);
		row = row_with_defaults(model, row, &columns);
		object = session_add(session, model, row, columns);
		return row_from_tuple(model, object_current_row(object));
	}
	require_not_deleted(model, object);
	graph_check_version(model, object, row);
	columns = row_updatable_columns(model);
	merged = row_overlay(model, object_current_row(object), row_to_tuple(row),
						 columns);
	session_set(model, object, row_from_tuple(model, merged), columns);
	return row_from_tuple(model, object_current_row(object));
}

/* A plain value: the key of an existing object. */
static Jsonb *
key_document(Model *model, JsonbValue *value, const char *name)
{
	JsonbParseState *state = NULL;
	JsonbValue	key = {.type = jbvString};
	char	   *column;

	if (model->nkeys != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" needs a JSON object with the key columns of %s",
						name, model->class_name)));
	column = NameStr(TupleDescAttr(model->tupdesc,
								   model->keys[0].attnum - 1)->attname);
	key.val.string.val = column;
	key.val.string.len = strlen(column);
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	(void) pushJsonbValue(&state, WJB_KEY, &key);
	(void) pushJsonbValue(&state, WJB_VALUE, value);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

static bool
is_plain_value(JsonbValue *value)
{
	return value->type != jbvBinary && !is_null_value(value);
}

static Jsonb *
nested_document(Model *target, JsonbValue *value, const char *name)
{
	if (is_plain_value(value))
		return key_document(target, value, name);
	if (value->type == jbvBinary &&
		JsonContainerIsObject(value->val.binary.data))
		return JsonbValueToJsonb(value);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" must be a JSON object of %s, or its key",
					name, target->class_name)));
}

/*
 * The row of the object that a nested document means, added or changed: known
 * are its foreign keys to the owner, or else it is what the owner refers to.
 */
static Datum
graph_resolve(Session *session, Model *target, JsonbValue *value,
			  const Relationship *relationship, const ForeignKeyValues *known)
{
	Jsonb	   *doc = nested_document(target, value, relationship->name);
	DocumentParts parts;

	check_stack_depth();
	parts = document_parts(target, doc);
	/* a member of a one-to-many has a foreign key besides its key */
	return merge_parts(session, target, &parts, known,
					   known == NULL ? relationship : NULL,
					   is_plain_value(value) ||
					   (known == NULL && is_reference(target, &parts)));
}
