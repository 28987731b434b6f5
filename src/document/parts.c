/*-------------------------------------------------------------------------
 *
 * parts.c
 *	  Taking a document apart by its selection: the columns of each object, and
 *	  the values of its relationships.
 *
 * Keys of the document are translated to names of columns; what the selection
 * computes or merges from other objects goes where it belongs.  Everything is
 * allocated in the current context.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "compat.h"
#include "document/parts.h"
#include "document/saving.h"
#include "session/graph.h"

static void
report_unknown_key(Selection *selection, const char *key)
{
	const char *nearest = nearest_name(key, selection_keys(selection));

	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("the selection of %s has no field \"%s\"",
					selection->model->class_name, key),
			 nearest ? errhint("Perhaps you meant \"%s\".", nearest) : 0));
}

/* The field that is merged into its parent and has the key, or NULL. */
static SelectionField *
unnested_field(Selection *selection, const char *key)
{
	ListCell   *cell;

	foreach(cell, selection->fields)
	{
		SelectionField *field = lfirst(cell);

		if (field->unnest && field->child != NULL &&
			(selection_field(field->child, key) != NULL ||
			 unnested_field(field->child, key) != NULL))
			return field;
	}
	return NULL;
}

static void
push_key_value(JsonbParseState **state, const char *key, JsonbValue *value)
{
	JsonbValue	name = {.type = jbvString};

	name.val.string.val = pstrdup(key);
	name.val.string.len = strlen(key);
	(void) pushJsonbValue(state, WJB_KEY, &name);
	(void) pushJsonbValue(state, WJB_VALUE, value);
}

/* The document of an unnested relationship: its keys of the parent's. */
static Jsonb *
unnested_document(Selection *selection, SelectionField *field, Jsonb *doc)
{
	JsonbIterator *iterator = JsonbIteratorInit(&doc->root);
	JsonbParseState *state = NULL;
	JsonbValue	key,
				value;

	(void) JsonbIteratorNext(&iterator, &value, true);
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	while (JsonbIteratorNext(&iterator, &key, true) == WJB_KEY)
	{
		char	   *name = pnstrdup(key.val.string.val, key.val.string.len);

		(void) JsonbIteratorNext(&iterator, &value, true);
		if (selection_field(selection, name) == NULL &&
			unnested_field(selection, name) == field)
			push_key_value(&state, name, &value);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

static char *
etag_value(JsonbValue *value)
{
	if (value->type == jbvNull)
		return NULL;
	if (value->type != jbvString || value->val.string.len != 32)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be the etag of a document, a string of 32 characters",
						ETAG_FIELD)));
	return pnstrdup(value->val.string.val, value->val.string.len);
}

static void
add_relationship(SavedDocument *parts, SelectionField *field,
				 const JsonbValue *value)
{
	SavedRelationship *entry = palloc0(sizeof(SavedRelationship));

	entry->field = field;
	entry->value = *value;
	parts->relationships = lappend(parts->relationships, entry);
}

/* The key column of that name, which a document may have in any case. */
static bool
is_key_column(Model *model, const char *name)
{
	for (int i = 0; i < model->nkeys; i++)
	{
		if (strcmp(NameStr(TupleDescAttr(model->tupdesc,
										 model->keys[i].attnum - 1)->attname),
				   name) == 0)
			return true;
	}
	return false;
}

/*
 * Puts one key of the document where it belongs.  A key column that the
 * selection does not name may be there in any case, unless the name is that
 * of a field which is merged into the object: add_unnested takes that.
 */
static void
take_key(Selection *selection, SavedDocument *parts, JsonbParseState **state,
		 const char *key, JsonbValue *value)
{
	SelectionField *field = selection_field(selection, key);

	if (field == NULL && strcmp(key, ETAG_FIELD) == 0)
		parts->etag = etag_value(value);
	else if (field == NULL && unnested_field(selection, key) != NULL)
		return;
	else if (field == NULL && is_key_column(selection->model, key))
		push_key_value(state, key, value);
	else if (field == NULL || field->hidden)
		report_unknown_key(selection, key);
	else if (field->kind == FIELD_ETAG)
		parts->etag = etag_value(value);
	else if (field->kind == FIELD_RELATIONSHIP)
		add_relationship(parts, field, value);
	else if (field->kind == FIELD_COLUMN &&
			 TupleDescAttr(selection->model->tupdesc,
						   field->attnum - 1)->attgenerated == '\0')
		push_key_value(state, field->name, value);
	/* what is computed is not written */
}

static void
add_unnested(Selection *selection, SavedDocument *parts, Jsonb *doc)
{
	ListCell   *cell;

	foreach(cell, selection->fields)
	{
		SelectionField *field = lfirst(cell);
		JsonbValue	value = {.type = jbvBinary};
		Jsonb	   *child;

		if (!field->unnest)
			continue;
		child = unnested_document(selection, field, doc);
		if (JsonContainerSize(&child->root) == 0)
			continue;
		value.val.binary.data = &child->root;
		value.val.binary.len = VARSIZE(child) - VARHDRSZ;
		add_relationship(parts, field, &value);
	}
}

SavedDocument
document_take_apart(Selection *selection, Jsonb *doc)
{
	SavedDocument parts = {0};
	JsonbIterator *iterator;
	JsonbParseState *state = NULL;
	JsonbValue	key,
				value;

	require_object_document(selection->model, doc);
	iterator = JsonbIteratorInit(&doc->root);
	(void) JsonbIteratorNext(&iterator, &value, true);
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	while (JsonbIteratorNext(&iterator, &key, true) == WJB_KEY)
	{
		(void) JsonbIteratorNext(&iterator, &value, true);
		take_key(selection, &parts, &state,
				 pnstrdup(key.val.string.val, key.val.string.len), &value);
	}
	parts.columns = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT,
													 NULL));
	add_unnested(selection, &parts, doc);
	return parts;
}

/* ------------------------------------------------------------------------
 * all of a document
 * ------------------------------------------------------------------------
 */
static SavedNode *node_create(SaveContext *context, Selection *selection,
							  SavedNode *parent, SavedRelationship *entry,
							  int index);
static void node_fill(SaveContext *context, SavedNode *node, Jsonb *doc);

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

static void
add_node(SaveContext *context, SavedNode *parent, SavedRelationship *entry,
		 JsonbValue *value, int index)
{
	SavedNode  *node = node_create(context, entry->field->child, parent,
								   entry, index);

	node_fill(context, node, object_value(value));
	entry->nodes = lappend(entry->nodes, node);
	context->node = parent;
	context->entry = entry;
}

static void
add_nodes(SaveContext *context, SavedNode *parent, SavedRelationship *entry)
{
	JsonbContainer *array;

	context->entry = entry;
	if (entry->field->relationship->direction == RELATIONSHIP_MANY_TO_ONE ||
		!entry->field->relationship->uselist)
	{
		if (entry->value.type != jbvNull)
			add_node(context, parent, entry, &entry->value, -1);
		return;
	}
	if (entry->value.type != jbvBinary ||
		!JsonContainerIsArray(entry->value.val.binary.data))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a JSON array is wanted")));
	array = entry->value.val.binary.data;
	for (uint32 i = 0; i < JsonContainerSize(array); i++)
		add_node(context, parent, entry,
				 getIthJsonbValueFromContainer(array, i), i);
}

static SavedNode *
node_create(SaveContext *context, Selection *selection, SavedNode *parent,
			SavedRelationship *entry, int index)
{
	SavedNode  *node = palloc0(sizeof(SavedNode));

	node->selection = selection;
	node->parent = parent;
	node->entry = entry;
	node->index = index;
	context->node = node;
	context->entry = NULL;
	return node;
}

static void
node_fill(SaveContext *context, SavedNode *node, Jsonb *doc)
{
	ListCell   *cell;

	check_stack_depth();
	if (!JB_ROOT_IS_OBJECT(doc))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a document of %s must be a JSON object",
						node->selection->model->class_name)));
	node->doc = doc;
	node->parts = document_take_apart(node->selection, doc);
	node->key = graph_document_key(node->selection->model,
								   node->parts.columns, NULL, &node->row);
	node->has_key = node->key != NULL;
	foreach(cell, node->parts.relationships)
	{
		SavedRelationship *entry = lfirst(cell);

		if (!entry->field->relationship->viewonly)
			add_nodes(context, node, entry);
	}
}

SavedNode *
document_tree(SaveContext *context, Selection *selection, Jsonb *doc,
			  int index)
{
	SavedNode  *node = node_create(context, selection, NULL, NULL, index);

	node_fill(context, node, doc);
	return node;
}

/*
 * The fields of an unnested object lead to it by the parent's foreign key,
 * since its own key need not be among them; and where the selection does not
 * show the key of an object, it is the one that the parent's leads to.
 */
bool
saved_node_takes_known_key(SavedNode *node)
{
	return node->entry->field->unnest ||
		!selection_shows_key(node->selection);
}
