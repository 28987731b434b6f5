/*-------------------------------------------------------------------------
 *
 * save_object.c
 *	  Writing one object of a document, and what the document has in it.
 *
 * Each object is matched with the stored one by its primary key, and what
 * differs is given to the session's unit of work, as far as the selection
 * allows.  A collection that the document names has exactly the members that
 * it names: others are unlinked or, where the selection says @delete, deleted.
 * One that the selection shows only in part (filter, limit, offset) loses
 * none.
 *
 * Everything is allocated in the caller's context.  Locks are those of the
 * statements.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"

#include "compat.h"
#include "document/save_object.h"
#include "session/graph.h"

/* ------------------------------------------------------------------------
 * objects of the session
 * ------------------------------------------------------------------------
 */

/*
 * The object of that key, or NULL.  What was looked up for this call is not
 * looked up again.
 */
static Object *
existing_object(SaveContext *context, SavedNode *node, const Datum *key)
{
	Model	   *model = node->selection->model;
	Object	   *object;

	if (!node->is_looked_up || !model_key_equal(model, node->key, key))
		return graph_existing(context->session, model, key);
	object = session_find(context->session, model, key);
	if (object != NULL && object->top->state == OBJECT_DELETED)
		return NULL;
	if (object == NULL && !node->exists)
		return NULL;
	if (object != NULL && (object_current_row(object) != NULL ||
						   object->top->marked_deleted))
		return object;
	return graph_existing(context->session, model, key);
}

/* The object of a row that this call has read, its row known. */
Object *
known_object(SaveContext *context, Model *model, Datum row)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(row);
	Datum	   *key = palloc(model->nkeys * sizeof(Datum));
	Object	   *object = model_key_of_row(model, header, key) ?
	session_find(context->session, model, key) : NULL;

	if (object != NULL && object_current_row(object) != NULL)
		return object;
	return session_object(context->session, model, header);
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

void
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
selection_field_is_partial(SelectionField *field)
{
	return field->filter != NULL || field->filter_by != NULL ||
		field->limit >= 0 || field->offset > 0;
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
 * The row of the object that a to-one relationship has, or 0 for none.  Where
 * the selection does not show its key, it is the one that row leads to.
 */
static Datum
save_target(SaveContext *context, Model *model, Datum row,
			SavedRelationship *entry)
{
	Relationship *relationship = entry->field->relationship;
	SavedNode  *node;
	ForeignKeyValues known;

	if (entry->nodes == NIL)
		return (Datum) 0;
	node = linitial(entry->nodes);
	known = foreign_key_values(model, row, relationship->local_attnums,
							   node->selection->model,
							   relationship->remote_attnums,
							   relationship->nlocal);
	if (saved_node_takes_known_key(node) && !known.nulls[0])
		return save_object(context, node, &known, KNOWN_DEFAULT_KEY,
						   SAVE_MERGE);
	if (entry->field->unnest && all_values_null(node->doc))
		return (Datum) 0;
	return save_object(context, node, NULL, KNOWN_OWNER, SAVE_MERGE);
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

		if (!is_to_one(entry->field) || relationship->viewonly)
			continue;
		context->entry = entry;
		target = save_target(context, model, before, entry);
		known = foreign_key_values(entry->field->child->model, target,
								   relationship->remote_attnums, model,
								   relationship->local_attnums,
								   relationship->nlocal);
		if (before == (Datum) 0 || !row_has_values(model, before, &known))
			row = row_with_foreign_key(model, row, &known, given);
	}
	context->entry = NULL;
	return row;
}

/* ------------------------------------------------------------------------
 * collections
 * ------------------------------------------------------------------------
 */

/* Writes the members; returns their rows, as many as there are nodes. */
static List *
save_members(SaveContext *context, Model *model, Datum row,
			 SavedRelationship *entry)
{
	Relationship *relationship = entry->field->relationship;
	Selection  *child = entry->field->child;
	bool		many = relationship->direction == RELATIONSHIP_MANY_TO_MANY;
	MemberSet  *members = member_set_create(child->model, NIL);
	ForeignKeyValues known;
	List	   *rows = NIL;
	ListCell   *cell;

	if (!many)
		known = foreign_key_values(model, row, relationship->local_attnums,
								   child->model, relationship->remote_attnums,
								   relationship->nlocal);
	foreach(cell, entry->nodes)
	{
		SavedNode  *node = lfirst(cell);
		Datum		member = save_object(context, node, many ? NULL : &known,
										 KNOWN_OWNER, SAVE_MERGE);

		if (!member_set_add(members, member))
		{
			context->node = node;
			context->entry = NULL;
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the same %s stands twice in the array",
							child->model->class_name)));
		}
		rows = lappend(rows, DatumGetPointer(member));
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

	bool		many = relationship->direction == RELATIONSHIP_MANY_TO_MANY;
	Object	   *object;

	if (selection_allows(context->root, child, ALLOW_DELETE))
	{
		object = known_object(context, child->model, member);
		entry->dropped = lappend(entry->dropped, object);
		session_delete(child->model, object);
		return;
	}
	/* a link is the owner's, a foreign key the member's */
	require_allowed(context, many ? parent : child, ALLOW_UPDATE, "update");
	if (many)
		object = session_unlink(context->session, relationship, row, member);
	else
	{
		object = known_object(context, child->model, member);
		require_not_deleted(child->model, object);
		if (row_is_member(parent->model, row, relationship, child->model,
						  row_from_tuple(child->model,
										 object_current_row(object))))
			member_release(relationship, child->model, object,
						   relationship->cascade & CASCADE_DELETE_ORPHAN);
	}
	entry->dropped = lappend(entry->dropped, object);
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

		if (bms_is_member(column_member(attnum), owner))
			continue;
		key.val.string.val =
			NameStr(TupleDescAttr(target->tupdesc, attnum - 1)->attname);
		key.val.string.len = strlen(key.val.string.val);
		foreach(cell, entry->nodes)
		{
			SavedNode  *node = lfirst(cell);

			if (findJsonbValueFromContainer(&node->parts.columns->root,
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

/* What is stored, with what this call has changed of it already. */
static List *
members_before(SaveContext *context, Model *model, Datum row,
			   SavedRelationship *entry)
{
	Relationship *relationship = entry->field->relationship;
	int			at;

	if (!entry->is_read)
		entry->before = collections_load(context->session, model, 1, &row,
										 relationship, context->mode,
										 &at)[0];
	return collection_members_of(context->session, model, row, relationship,
								 entry->before);
}

static void
link_members(SaveContext *context, Selection *parent, Datum row, bool existed,
			 SavedRelationship *entry, List *members, MemberSet *before)
{
	ListCell   *node_cell;
	ListCell   *member_cell;

	forboth(node_cell, entry->nodes, member_cell, members)
	{
		SavedNode  *node = lfirst(node_cell);
		Datum		member = PointerGetDatum(lfirst(member_cell));

		if (member_set_has(before, member))
			continue;
		if (existed)
			require_allowed(context, parent, ALLOW_UPDATE, "update");
		node->link = session_link(context->session,
								  entry->field->relationship, row, member);
	}
}

static void
save_collection(SaveContext *context, Selection *parent, Datum row,
				bool existed, SavedRelationship *entry)
{
	Model	   *target = entry->field->child->model;
	List	   *before = existed ?
	members_before(context, parent->model, row, entry) : NIL;
	List	   *members;
	MemberSet  *kept;
	ListCell   *cell;

	if (before != NIL)
		require_member_keys(parent, entry);
	members = save_members(context, parent->model, row, entry);
	kept = member_set_create(target, members);

	if (!selection_field_is_partial(entry->field))
	{
		foreach(cell, before)
		{
			if (!member_set_has(kept, PointerGetDatum(lfirst(cell))))
				drop_member(context, parent, row, entry,
							PointerGetDatum(lfirst(cell)));
		}
	}
	if (entry->field->relationship->direction == RELATIONSHIP_MANY_TO_MANY)
		link_members(context, parent, row, existed, entry, members,
					 member_set_create(target, before));
}

static void
save_collections(SaveContext *context, Selection *selection, Datum row,
				 bool existed, List *relationships)
{
	ListCell   *cell;

	foreach(cell, relationships)
	{
		SavedRelationship *entry = lfirst(cell);

		if (is_to_one(entry->field) || entry->field->relationship->viewonly)
			continue;
		context->entry = entry;
		save_collection(context, selection, row, existed, entry);
	}
	context->entry = NULL;
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

/* Have foreign keys that are known a default, which is not wanted then? */
static bool
have_defaults(Model *model, const ForeignKeyValues *known)
{
	for (int i = 0; i < known->n; i++)
	{
		Form_pg_attribute column = TupleDescAttr(model->tupdesc,
												 known->attnums[i] - 1);

		if (column->atthasdef || column->attidentity != '\0')
			return true;
	}
	return false;
}

static bool
has_to_one(SavedDocument *parts)
{
	ListCell   *cell;

	foreach(cell, parts->relationships)
	{
		if (is_to_one(((SavedRelationship *) lfirst(cell))->field))
			return true;
	}
	return false;
}

/*
 * Adds the object of a plain document that refers to nothing but its owner,
 * or returns NULL.
 */
static Object *
add_plain_object(SaveContext *context, SavedNode *node,
				 const ForeignKeyValues *known)
{
	Model	   *model = node->selection->model;
	RowDraft	draft;

	if (has_to_one(&node->parts) ||
		(known != NULL && have_defaults(model, known)) ||
		!row_draft(model, &node->parts.columns->root, &draft))
		return NULL;
	if (known != NULL)
		draft.given = bms_union(draft.given,
								column_set(known->n, known->attnums));
	for (int i = 0; known != NULL && i < known->n; i++)
	{
		draft.values[known->attnums[i] - 1] = known->values[i];
		draft.nulls[known->attnums[i] - 1] = known->nulls[i];
	}
	document_require_values(model, draft.nulls);
	return session_add_draft(context->session, model, &draft);
}

static Object *
add_object(SaveContext *context, SavedNode *node,
		   const ForeignKeyValues *known)
{
	SavedDocument *parts = &node->parts;
	Model	   *model = node->selection->model;
	int			natts = model->tupdesc->natts;
	Datum	   *values = palloc(natts * sizeof(Datum));
	bool	   *nulls = palloc(natts * sizeof(bool));
	Bitmapset  *given = NULL;
	Datum		row;

	row = row_from_document(model, (Datum) 0,
							JsonbPGetDatum(parts->columns), &given);
	row_require_settable(model, given);
	row = save_targets(context, model, parts->relationships, (Datum) 0, row,
					   &given);
	if (known != NULL)
		row = row_with_foreign_key(model, row, known, &given);
	row = row_with_defaults(model, row, &given);
	row_deform(model, row, values, nulls);
	document_require_values(model, nulls);
	return session_add(context->session, model, row, given);
}

static Datum
insert_object(SaveContext *context, SavedNode *node,
			  const ForeignKeyValues *known)
{
	Model	   *model = node->selection->model;
	Object	   *object;
	Datum		row;

	require_allowed(context, node->selection, ALLOW_INSERT, "insert");
	object = add_plain_object(context, node, known);
	if (object == NULL)
		object = add_object(context, node, known);
	node->object = object;
	if (object_key(object) == NULL)
		session_flush(context->session, FLUSH_KEYS);
	row = row_from_tuple(model, object_current_row(object));
	save_collections(context, node->selection, row, false,
					 node->parts.relationships);
	return row;
}

/*
 * Within a document, nothing but a key means an object that exists, unless
 * there is nothing else to be said of it: a table of keys, or a member whose
 * owner is a part of its key, or all of the rest.
 */
static bool
is_reference(SavedNode *node, const ForeignKeyValues *known)
{
	Model	   *model = node->selection->model;
	Bitmapset  *others = row_updatable_columns(model);
	Bitmapset  *owner = known == NULL ? NULL :
	column_set(known->n, known->attnums);

	if (node->parent == NULL || node->parts.relationships != NIL ||
		JsonContainerSize(&node->parts.columns->root) != model->nkeys)
		return false;
	return !bms_is_subset(others, owner) && !model_key_overlaps(model, owner);
}

static Datum
update_object(SaveContext *context, SavedNode *node,
			  const ForeignKeyValues *known, const Datum *key)
{
	Selection  *selection = node->selection;
	SavedDocument *parts = &node->parts;
	Model	   *model = selection->model;
	Datum		key_row = row_of_key(model, key);
	Object	   *object = known_object(context, model, key_row);
	Bitmapset  *columns = NULL;
	HeapTuple	before;
	Datum		row;

	require_not_deleted(model, object);
	if (known != NULL)
		require_own_member(model, object, known);
	else if (is_reference(node, NULL))
		return row_from_tuple(model, object_current_row(object));
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
		object = known_object(context, model, key_row);
		node->object = object;
		session_set(model, object, row, columns);
		row = row_from_tuple(model, object_current_row(object));
	}
	save_collections(context, selection, row, true, parts->relationships);
	return row;
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
 * The key that a document means, or NULL.  *known becomes NULL where the
 * document knows better.
 */
Datum *
saved_key(SavedNode *node, const ForeignKeyValues **known,
		  KnownColumns meaning, Datum *row)
{
	Model	   *model = node->selection->model;
	Datum	   *key = node->key;

	if (node->has_key)
		*row = node->row;
	else
		key = graph_document_key(model, node->parts.columns,
								 meaning == KNOWN_OWNER ? *known : NULL, row);
	if (*known == NULL || meaning == KNOWN_OWNER)
		return key;
	if (key == NULL)
		return graph_document_key(model, node->parts.columns, *known, row);
	if (meaning == KNOWN_KEY)
		require_same_key(model, *row, *known);
	*known = NULL;
	return key;
}

static Datum
save_node(SaveContext *context, SavedNode *node,
		  const ForeignKeyValues *known, KnownColumns meaning, SaveMode mode)
{
	Model	   *model = node->selection->model;
	Datum		row;
	Datum	   *key = saved_key(node, &known, meaning, &row);
	Object	   *object = key ? existing_object(context, node, key) : NULL;

	if (object == NULL)
	{
		if (mode == SAVE_UPDATE ||
			(key != NULL && is_reference(node, known)))
			report_missing_object(model, key);
		return insert_object(context, node, known);
	}
	if (mode == SAVE_INSERT)
		report_root_exists(model, key);
	graph_check_version(model, object, row);
	return update_object(context, node, known, key);
}

Datum
save_object(SaveContext *context, SavedNode *node,
			const ForeignKeyValues *known, KnownColumns meaning,
			SaveMode mode)
{
	SavedNode  *outer_node = context->node;
	SavedRelationship *outer_entry = context->entry;
	Datum		row;

	check_stack_depth();
	context->node = node;
	context->entry = NULL;
	row = save_node(context, node, known, meaning, mode);
	context->node = outer_node;
	context->entry = outer_entry;
	return row;
}
