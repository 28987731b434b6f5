/*-------------------------------------------------------------------------
 *
 * saving.c
 *	  Writing documents: orm.save, and what the triggers of ORM views do.
 *
 * A document is taken apart by its selection (parts.c); each level is matched
 * with the stored objects by primary key, and what differs is given to the session's
 * unit of work, as far as the selection allows.  A collection that the
 * document names has exactly the members that it names: others are unlinked
 * or, where the selection says @delete, deleted.  One that the selection
 * shows only in part (filter, limit, offset) loses none.
 *
 * Everything is allocated in the caller's context.  Locks are those of the
 * statements.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "compat.h"
#include "document/parts.h"
#include "document/saving.h"
#include "session/graph.h"

/* One document while it is written. */
typedef struct SaveContext
{
	Session    *session;
	Selection  *root;
	StringInfoData path;		/* "$.girls[1]", for messages */
} SaveContext;

/* What columns are that are known from elsewhere than the document. */
typedef enum KnownColumns
{
	KNOWN_OWNER,				/* a foreign key to the owner */
	KNOWN_KEY,					/* the key, which the document cannot change */
	KNOWN_DEFAULT_KEY			/* the key, unless the document has another */
} KnownColumns;

static Datum save_object(SaveContext *context, Selection *selection,
						 Jsonb *doc, const ForeignKeyValues *known,
						 KnownColumns meaning, SaveMode mode);

/* ------------------------------------------------------------------------
 * where we are
 * ------------------------------------------------------------------------
 */
static void
path_error_context(void *arg)
{
	SaveContext *context = arg;

	errcontext("document of %s at %s", context->root->model->class_name,
			   context->path.data);
}

/* Goes down a step; returns what path_leave wants. */
static int
path_enter(SaveContext *context, const char *key)
{
	int			length = context->path.len;

	appendStringInfo(&context->path, ".%s", key);
	return length;
}

static int
path_enter_element(SaveContext *context, int index)
{
	int			length = context->path.len;

	appendStringInfo(&context->path, "[%d]", index);
	return length;
}

static void
path_leave(SaveContext *context, int length)
{
	context->path.len = length;
	context->path.data[length] = '\0';
}

/* ------------------------------------------------------------------------
 * what the selection allows
 * ------------------------------------------------------------------------
 */

/*
 * A selection without any annotation allows everything but to delete members
 * of collections; with annotations, what they say.
 */
bool
selection_allows(Selection *root, Selection *level, int what)
{
	if (selection_has_permissions(root))
		return (level->allowed & what) == what;
	return level == root || (what & ALLOW_DELETE) == 0;
}

static void
require_allowed(SaveContext *context, Selection *level, int what,
				const char *action)
{
	if (selection_allows(context->root, level, what))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("the selection does not allow to %s %s", action,
					level->model->class_name),
			 errhint("Its level of the selection would need @%s.", action)));
}

/* ------------------------------------------------------------------------
 * to-one relationships
 * ------------------------------------------------------------------------
 */
static bool
is_to_one(SelectionField *field)
{
	return field->relationship->direction == RELATIONSHIP_MANY_TO_ONE;
}

static Jsonb *
object_value(JsonbValue *value)
{
	if (value->type != jbvBinary ||
		!JsonContainerIsObject(value->val.binary.data))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a JSON object is wanted")));
	return JsonbValueToJsonb(value);
}

static bool
all_values_null(Jsonb *doc)
{
	JsonbIterator *iterator = JsonbIteratorInit(&doc->root);
	JsonbValue	value;
	JsonbIteratorToken token;

	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_VALUE && value.type != jbvNull)
			return false;
	}
	return true;
}

bool
selection_shows_key(Selection *selection)
{
	Model	   *model = selection->model;
	int			shown = 0;
	ListCell   *cell;

	foreach(cell, selection->fields)
	{
		SelectionField *field = lfirst(cell);

		for (int i = 0; i < model->nkeys; i++)
			shown += field->kind == FIELD_COLUMN && !field->hidden &&
				field->attnum == model->keys[i].attnum;
	}
	return shown >= model->nkeys;
}

/*
 * The fields of an unnested object lead to it by the parent's foreign key,
 * since its own key need not be among them.
 */
static ForeignKeyValues
unnested_key(Model *model, Datum row, Relationship *relationship)
{
	Model	   *target = model_by_relid(relationship->target, false);

	return foreign_key_values(model, row, relationship->local_attnums, target,
							  relationship->remote_attnums,
							  relationship->nlocal);
}

/*
 * The row of the object that a to-one relationship has, or 0 for none.  Where
 * the selection does not show its key, it is the one that row leads to.
 */
static Datum
save_target(SaveContext *context, Model *model, Datum row,
			SavedRelationship *entry)
{
	SelectionField *field = entry->field;
	ForeignKeyValues known;
	Jsonb	   *doc;

	if (entry->value.type == jbvNull)
		return (Datum) 0;
	doc = object_value(&entry->value);
	known = unnested_key(model, row, field->relationship);
	if ((!field->unnest && selection_shows_key(field->child)) ||
		known.nulls[0])
	{
		if (field->unnest && all_values_null(doc))
			return (Datum) 0;
		return save_object(context, field->child, doc, NULL, KNOWN_OWNER,
						   SAVE_MERGE);
	}
	return save_object(context, field->child, doc, &known, KNOWN_DEFAULT_KEY,
					   SAVE_MERGE);
}

/* Are those the values that the row has? */
static bool
row_has_values(Model *model, Datum row, const ForeignKeyValues *known)
{
	for (int i = 0; i < known->n; i++)
	{
		bool		isnull;
		Datum		value = row_column(model, row, known->attnums[i], &isnull);

		if (isnull != known->nulls[i] ||
			(!isnull &&
			 !column_values_equal(model, known->attnums[i], value, model,
								  known->attnums[i], known->values[i])))
			return false;
	}
	return true;
}

/*
 * Sets the foreign keys that the to-one relationships of a document make.
 * Where one leads to what it led to before, the document's own columns count.
 */
static Datum
save_targets(SaveContext *context, Model *model, List *relationships,
			 Datum before, Datum row, Bitmapset **given)
{
	ListCell   *cell;

	foreach(cell, relationships)
	{
		SavedRelationship *entry = lfirst(cell);
		Relationship *relationship = entry->field->relationship;
		ForeignKeyValues known;
		Datum		target;
		int			length;

		if (!is_to_one(entry->field) || relationship->viewonly)
			continue;
		length = path_enter(context, entry->field->key);
		target = save_target(context, model, before, entry);
		known = foreign_key_values(entry->field->child->model, target,
								   relationship->remote_attnums, model,
								   relationship->local_attnums,
								   relationship->nlocal);
		if (before == (Datum) 0 || !row_has_values(model, before, &known))
			row = row_with_foreign_key(model, row, &known, given);
		path_leave(context, length);
	}
	return row;
}

/* ------------------------------------------------------------------------
 * collections
 * ------------------------------------------------------------------------
 */

/* The documents of a collection: List of JsonbValue *. */
static List *
member_documents(SavedRelationship *entry)
{
	JsonbValue *value = &entry->value;
	List	   *documents = NIL;

	if (!entry->field->relationship->uselist)
		return value->type == jbvNull ? NIL : list_make1(value);
	if (value->type != jbvBinary ||
		!JsonContainerIsArray(value->val.binary.data))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a JSON array is wanted")));
	for (uint32 i = 0; i < JsonContainerSize(value->val.binary.data); i++)
		documents = lappend(documents,
							getIthJsonbValueFromContainer(value->val.binary.data,
														  i));
	return documents;
}

/* Writes the members; returns their rows. */
static List *
save_members(SaveContext *context, Model *model, Datum row,
			 SavedRelationship *entry)
{
	Relationship *relationship = entry->field->relationship;
	Selection  *child = entry->field->child;
	bool		many = relationship->direction == RELATIONSHIP_MANY_TO_MANY;
	ForeignKeyValues known;
	List	   *rows = NIL;
	ListCell   *cell;

	if (!many)
		known = foreign_key_values(model, row, relationship->local_attnums,
								   child->model, relationship->remote_attnums,
								   relationship->nlocal);
	foreach(cell, member_documents(entry))
	{
		int			length = path_enter_element(context,
												foreach_current_index(cell));
		Datum		member = save_object(context, child,
										 object_value(lfirst(cell)),
										 many ? NULL : &known, KNOWN_OWNER,
										 SAVE_MERGE);

		if (rows_have_key(child->model, rows, member))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the same %s stands twice in the array",
							child->model->class_name)));
		rows = lappend(rows, DatumGetPointer(member));
		path_leave(context, length);
	}
	return rows;
}

/* A member that the document no longer has. */
static void
drop_member(SaveContext *context, Selection *parent, Datum row,
			SavedRelationship *entry, Datum member)
{
	Relationship *relationship = entry->field->relationship;
	Selection  *child = entry->field->child;

	if (selection_allows(context->root, child, ALLOW_DELETE))
	{
		session_delete(child->model,
					   session_object(context->session, child->model,
									  DatumGetHeapTupleHeader(member)));
		return;
	}
	/* a link is the owner's, a foreign key the member's */
	require_allowed(context,
					relationship->direction == RELATIONSHIP_MANY_TO_MANY ?
					parent : child, ALLOW_UPDATE, "update");
	collection_remove(context->session, parent->model, row, relationship,
					  member);
}

/* Does the selection show only some of the members? */
static bool
shows_part(SelectionField *field)
{
	return field->filter != NULL || field->filter_by != NULL ||
		field->limit >= 0 || field->offset > 0;
}

/* Can the members of the document be told from each other, and from new ones? */
static void
require_member_keys(Selection *parent, SavedRelationship *entry)
{
	Relationship *relationship = entry->field->relationship;
	Model	   *target = entry->field->child->model;
	Bitmapset  *owner = OidIsValid(relationship->secondary) ? NULL :
	column_set(relationship->nremote, relationship->remote_attnums);
	JsonbValue	key = {.type = jbvString};
	ListCell   *cell;

	if (selection_shows_key(entry->field->child))
		return;
	for (int i = 0; i < target->nkeys; i++)
	{
		AttrNumber	attnum = target->keys[i].attnum;

		if (bms_is_member(attnum - FirstLowInvalidHeapAttributeNumber, owner))
			continue;
		key.val.string.val =
			NameStr(TupleDescAttr(target->tupdesc, attnum - 1)->attname);
		key.val.string.len = strlen(key.val.string.val);
		foreach(cell, member_documents(entry))
		{
			JsonbValue *value = lfirst(cell);

			if (value->type == jbvBinary &&
				JsonContainerIsObject(value->val.binary.data) &&
				findJsonbValueFromContainer(value->val.binary.data,
											JB_FOBJECT, &key) != NULL)
				continue;
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the document has no key of %s, so that its members cannot be told from new ones",
							target->class_name),
					 errhint("Put %s into the selection.",
							 column_sql(target, attnum))));
		}
	}
}

static void
save_collection(SaveContext *context, Selection *parent, Datum row,
				bool existed, SavedRelationship *entry)
{
	Relationship *relationship = entry->field->relationship;
	Model	   *target = entry->field->child->model;
	List	   *before = existed ?
	collection_members(context->session, parent->model, row, relationship,
					   true) : NIL;
	List	   *members;
	ListCell   *cell;

	if (before != NIL)
		require_member_keys(parent, entry);
	members = save_members(context, parent->model, row, entry);

	foreach(cell, before)
	{
		if (!shows_part(entry->field) &&
			!rows_have_key(target, members, PointerGetDatum(lfirst(cell))))
			drop_member(context, parent, row, entry,
						PointerGetDatum(lfirst(cell)));
	}
	if (relationship->direction != RELATIONSHIP_MANY_TO_MANY)
		return;
	foreach(cell, members)
	{
		if (rows_have_key(target, before, PointerGetDatum(lfirst(cell))))
			continue;
		if (existed)
			require_allowed(context, parent, ALLOW_UPDATE, "update");
		session_link(context->session, relationship, row,
					 PointerGetDatum(lfirst(cell)));
	}
}

static void
save_collections(SaveContext *context, Selection *selection, Datum row,
				 bool existed, List *relationships)
{
	ListCell   *cell;

	foreach(cell, relationships)
	{
		SavedRelationship *entry = lfirst(cell);
		int			length;

		if (is_to_one(entry->field) || entry->field->relationship->viewonly)
			continue;
		length = path_enter(context, entry->field->key);
		save_collection(context, selection, row, existed, entry);
		path_leave(context, length);
	}
}

/* ------------------------------------------------------------------------
 * one object
 * ------------------------------------------------------------------------
 */

/* A member of a one-to-many cannot be taken from another owner. */
static void
require_own_member(Model *model, Object *object, const ForeignKeyValues *known)
{
	Datum		row = row_from_tuple(model, object_current_row(object));

	for (int i = 0; i < known->n; i++)
	{
		bool		isnull;
		Datum		value = row_column(model, row, known->attnums[i], &isnull);

		if (isnull || known->nulls[i] ||
			column_values_equal(model, known->attnums[i], value, model,
								known->attnums[i], known->values[i]))
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s %s belongs to another object", model->class_name,
						model_key_to_text(model, object_key(object))),
				 errhint("Take it from there first, or move it by orm.append.")));
	}
}

static Datum
insert_object(SaveContext *context, Selection *selection,
			  SavedDocument *parts, const ForeignKeyValues *known)
{
	Model	   *model = selection->model;
	Bitmapset  *given = NULL;
	Datum		row;
	Object	   *object;

	require_allowed(context, selection, ALLOW_INSERT, "insert");
	row = row_from_document(model, (Datum) 0,
							JsonbPGetDatum(parts->columns), &given);
	row_require_settable(model, given);
	row = save_targets(context, model, parts->relationships, (Datum) 0, row,
					   &given);
	if (known != NULL)
		row = row_with_foreign_key(model, row, known, &given);
	row = row_with_defaults(model, row, &given);
	document_require_values(model, row);
	object = session_add(context->session, model, row, given);
	if (object_key(object) == NULL)
		session_flush(context->session, FLUSH_EXPLICIT);
	row = row_from_tuple(model, object_current_row(object));
	save_collections(context, selection, row, false, parts->relationships);
	return row;
}

static Datum
update_object(SaveContext *context, Selection *selection,
			  SavedDocument *parts, const ForeignKeyValues *known,
			  const Datum *key)
{
	Model	   *model = selection->model;
	HeapTupleHeader header = DatumGetHeapTupleHeader(row_of_key(model, key));
	Object	   *object = session_object(context->session, model, header);
	Bitmapset  *columns = NULL;
	HeapTuple	before;
	Datum		row;

	require_not_deleted(model, object);
	if (known != NULL)
		require_own_member(model, object, known);
	before = heap_copytuple(object_current_row(object));
	row = row_from_document(model, row_from_tuple(model, before),
							JsonbPGetDatum(parts->columns), &columns);
	row = document_keep_json(model, row_from_tuple(model, before), row,
							 columns);
	row = save_targets(context, model, parts->relationships,
					   row_from_tuple(model, before), row, &columns);
	if (known != NULL)
		row = row_with_foreign_key(model, row, known, &columns);
	if (!bms_is_empty(row_difference(model, before, row_to_tuple(row),
									 columns)))
	{
		require_allowed(context, selection, ALLOW_UPDATE, "update");
		/* what was loaded meanwhile may have pushed a clean object out */
		object = session_object(context->session, model, header);
		session_set(model, object, row, columns);
		row = row_from_tuple(model, object_current_row(object));
	}
	save_collections(context, selection, row, true, parts->relationships);
	return row;
}

/*
 * Within a document, nothing but a key means an object that exists; but a
 * member of a one-to-many has its foreign key besides.
 */
static bool
is_reference(SaveContext *context, Selection *selection,
			 SavedDocument *parts)
{
	return selection != context->root && parts->relationships == NIL &&
		JsonContainerSize(&parts->columns->root) == selection->model->nkeys &&
		!bms_is_empty(row_updatable_columns(selection->model));
}

static void
report_missing_object(Model *model, const Datum *key)
{
	ereport(ERROR,
			(errcode(ERRCODE_NO_DATA_FOUND),
			 errmsg("%s %s does not exist", model->class_name,
					key ? model_key_to_text(model, key) : "without a key")));
}

static void
report_root_exists(Model *model, const Datum *key)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNIQUE_VIOLATION),
			 errmsg("%s %s exists already", model->class_name,
					model_key_to_text(model, key))));
}

/* The document's own key, if it has one, is the known one. */
static void
require_same_key(Model *model, Datum row, const ForeignKeyValues *known)
{
	for (int i = 0; i < known->n; i++)
	{
		bool		isnull;
		Datum		value = row_column(model, row, known->attnums[i], &isnull);

		if (!isnull && column_values_equal(model, known->attnums[i], value,
										   model, known->attnums[i],
										   known->values[i]))
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("the key of a document of %s cannot be changed",
						model->class_name)));
	}
}

/*
 * The key that a document means, or NULL, and its columns as a row.  *known
 * becomes NULL where the document knows better.
 */
static Datum *
saved_key(Model *model, SavedDocument *parts, const ForeignKeyValues **known,
		  KnownColumns meaning, Datum *row)
{
	Datum	   *key;

	if (*known == NULL || meaning == KNOWN_OWNER)
		return graph_document_key(model, parts->columns, *known, row);
	key = graph_document_key(model, parts->columns, NULL, row);
	if (key == NULL)
		return graph_document_key(model, parts->columns, *known, row);
	if (meaning == KNOWN_KEY)
		require_same_key(model, *row, *known);
	*known = NULL;
	return key;
}

static Datum
save_object(SaveContext *context, Selection *selection, Jsonb *doc,
			const ForeignKeyValues *known, KnownColumns meaning,
			SaveMode mode)
{
	Model	   *model = selection->model;
	SavedDocument parts;
	Object	   *object;
	Datum	   *key;
	Datum		row;

	check_stack_depth();
	parts = document_take_apart(selection, doc);
	key = saved_key(model, &parts, &known, meaning, &row);
	object = key ? graph_existing(context->session, model, key) : NULL;
	if (object == NULL)
	{
		if (mode == SAVE_UPDATE ||
			(key != NULL && known == NULL &&
			 is_reference(context, selection, &parts)))
			report_missing_object(model, key);
		return insert_object(context, selection, &parts, known);
	}
	if (mode == SAVE_INSERT)
		report_root_exists(model, key);
	if (parts.etag != NULL && selection == context->root)
	{
		document_check_etag(selection, key, parts.etag);
		object = graph_existing(context->session, model, key);
		if (object == NULL)
			report_missing_object(model, key);
	}
	graph_check_version(model, object, row);
	return update_object(context, selection, &parts, known, key);
}

/* ------------------------------------------------------------------------
 * whole documents
 * ------------------------------------------------------------------------
 */
Datum *
document_save(Session *session, Selection *selection, Jsonb *doc,
			  const ForeignKeyValues *key_columns, SaveMode mode)
{
	SaveContext context = {.session = session,.root = selection};
	Model	   *model = selection->model;
	ErrorContextCallback callback;
	Datum	   *key = palloc(model->nkeys * sizeof(Datum));
	Datum		row;

	initStringInfo(&context.path);
	appendStringInfoChar(&context.path, '$');
	callback.callback = path_error_context;
	callback.arg = &context;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	session_autoflush(session);
	row = save_object(&context, selection, doc, key_columns, KNOWN_KEY, mode);
	error_context_stack = callback.previous;
	session_flush(session, FLUSH_EXPLICIT);
	if (!model_key_of_row(model, DatumGetHeapTupleHeader(row), key))
		elog(ERROR, "a saved document has no key");
	return key;
}

/* Deletes what the selection says is deleted with its owner. */
static void
delete_members(SaveContext *context, Selection *selection, Datum row)
{
	ListCell   *cell;

	foreach(cell, selection->fields)
	{
		SelectionField *field = lfirst(cell);
		ListCell   *member;

		if (field->kind != FIELD_RELATIONSHIP || is_to_one(field) ||
			field->relationship->viewonly ||
			!selection_allows(context->root, field->child, ALLOW_DELETE))
			continue;
		foreach(member, collection_members(context->session, selection->model,
										   row, field->relationship, true))
		{
			Model	   *target = field->child->model;
			Datum		member_row = PointerGetDatum(lfirst(member));

			delete_members(context, field->child, member_row);
			session_delete(target,
						   session_object(context->session, target,
										  DatumGetHeapTupleHeader(member_row)));
		}
	}
}

void
document_delete(Session *session, Selection *selection, const Datum *key,
				const char *etag)
{
	SaveContext context = {.session = session,.root = selection};
	Model	   *model = selection->model;
	Datum		row = row_of_key(model, key);

	initStringInfo(&context.path);
	require_allowed(&context, selection, ALLOW_DELETE, "delete");
	session_autoflush(session);
	if (etag != NULL)
		document_check_etag(selection, key, etag);
	row = row_from_tuple(model,
						 object_current_row(session_object(session, model,
														   DatumGetHeapTupleHeader(row))));
	delete_members(&context, selection, row);
	session_delete(model, session_object(session, model,
										 DatumGetHeapTupleHeader(row)));
	session_flush(session, FLUSH_EXPLICIT);
}
